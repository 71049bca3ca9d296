"""The official `stripe` client drives the simulated card processor and checks the signatures of its webhooks.

Starts a simulator of its own (`FAREBOX_SIMULATORS_BIN`) and a receiver of webhooks, and stops both.
"""

import http.server
import os
import queue
import subprocess
import threading

import stripe

from stack import equal, finish, http as request, raises, step

KEY = "sk_test_0123456789abcdef"
SECRET = "whsec_0123456789abcdef0123456789abcdef"
received = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put((body.decode(), self.headers["stripe-signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
command = [os.environ["FAREBOX_SIMULATORS_BIN"], "payments", "--port", "0", "--webhook-secret", SECRET, "--secret-key", KEY]
command += ["--webhook-url", f"http://127.0.0.1:{receiver.server_port}/hooks"]
simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
made = {}

try:
    base = simulator.stdout.readline().split()[-1]
    client = stripe.StripeClient(KEY, base_addresses={"api": base}, max_network_retries=0)
    stranger = stripe.StripeClient("sk_test_other", base_addresses={"api": base}, max_network_retries=0)

    with step("a checkout session is created and read"):
        wish = {
            "mode": "payment",
            "success_url": "http://localhost/back?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://localhost/away",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {"currency": "usd", "unit_amount": 1080, "product_data": {"name": "Credits"}},
                }
            ],
            "metadata": {"purchase": "one"},
        }
        session = client.v1.checkout.sessions.create(wish, {"idempotency_key": "once"})
        equal((session.status, session.payment_status, session.amount_total), ("open", "unpaid", 1080), "session")
        equal(client.v1.checkout.sessions.create(wish, {"idempotency_key": "once"}).id, session.id, "the same again")
        equal(client.v1.checkout.sessions.retrieve(session.id).metadata["purchase"], "one", "metadata")
        items = client.v1.checkout.sessions.line_items.list(session.id)
        equal([item.amount_total for item in items.data], [1080], "line items")
        made["session"] = session.id

    with step("paying it is told by signed webhooks"):
        status, _, _ = request("POST", f"{base}/_control/pay/{made['session']}")
        equal(status, 200, "status")
        while True:
            body, signature = received.get(timeout=10)
            event = stripe.Webhook.construct_event(body, signature, SECRET)
            if event.type == "checkout.session.completed":
                break
        equal(event.data.object.id, made["session"], "session")
        made["news"] = (body, signature)

    with step("a forged webhook is not believed"):
        body, signature = made["news"]
        for text, secret in [(body.replace("1080", "9999"), SECRET), (body, "whsec_other")]:
            raises(stripe.SignatureVerificationError, lambda: stripe.Webhook.construct_event(text, signature, secret))

    with step("the payment has its charge and fee"):
        expand = {"expand": ["payment_intent.latest_charge.balance_transaction"]}
        paid = client.v1.checkout.sessions.retrieve(made["session"], expand)
        equal((paid.status, paid.payment_status), ("complete", "paid"), "state")
        charge = paid.payment_intent.latest_charge
        equal((charge.amount, charge.currency, charge.paid), (1080, "usd", True), "charge")
        assert charge.balance_transaction.fee > 0, charge
        events = client.v1.events.list({"type": "checkout.session.completed"})
        assert made["session"] in [event.data.object.id for event in events.data]

    with step("refusals are the client's own classes"):
        raises(stripe.InvalidRequestError, lambda: client.v1.checkout.sessions.retrieve("cs_test_nothing"))
        raises(stripe.InvalidRequestError, lambda: client.v1.checkout.sessions.expire(made["session"]))
        raises(stripe.AuthenticationError, lambda: stranger.v1.checkout.sessions.retrieve(made["session"]))
finally:
    simulator.terminate()
    simulator.wait(10)
    receiver.shutdown()

finish()
