//! What can happen to a payment: a session opens, is paid, declined or expires. Every act changes the
//! store as a whole and tells its news as events. Nothing here speaks HTTP.

use serde_json::{Value, json};

use super::Desk;
use super::failure::Failure;
use super::form::Params;
use super::objects::balance_transaction::Kind;
use super::objects::charge::{DECLINE_MESSAGE, Try, Verdict};
use super::objects::payment_intent::Purpose;
use super::objects::{
    Mint, balance_transaction, charge, checkout_session, customer, event, line_item, payment_intent, set,
    text,
};
use super::store::Store;

/// One act in progress: exclusive use of the store, and the events so far.
pub(crate) struct Act<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) mint: Mint<'a>,
    pub(crate) public_url: &'a str,
    events: Vec<Value>,
}

impl Desk {
    /// Carries out one act alone, saves the store and sends the news.
    pub(crate) fn act<T>(&self, work: impl FnOnce(&mut Act<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut store = self.store.lock();
        let mint = Mint { entropy: self.entropy.as_ref(), now: self.clock.now().timestamp() };
        let mut act = Act { store: &mut store, mint, public_url: &self.public_url, events: Vec::new() };
        let result = work(&mut act);
        let events = act.events;
        store.save().map_err(|error| Failure::internal(format!("State cannot be saved: {error}")))?;
        drop(store);
        if !events.is_empty() {
            self.webhooks.send(events);
        }
        result
    }
}

impl Act<'_> {
    pub(crate) fn tell(&mut self, kind: &str, object: &Value) {
        let news = event::build(&self.mint, kind, object);
        self.store.put(news.clone());
        self.events.push(news);
    }

    pub(crate) fn create_customer(&mut self, params: &Params) -> Result<Value, Failure> {
        let customer = customer::build(&self.mint, params);
        self.store.put(customer.clone());
        self.tell("customer.created", &customer);
        Ok(customer)
    }

    pub(crate) fn create_session(&mut self, params: &Params) -> Result<Value, Failure> {
        if self.store.is_full() {
            return Err(Failure::internal(
                "The simulator remembers too much; restart it with a new state file.",
            ));
        }
        let wish = checkout_session::check(params, self.mint.now)?;
        if let Some(id) = params.text("/customer").filter(|id| self.store.of_kind("customer", id).is_none()) {
            return Err(Failure::no_such("customer", id));
        }
        let session = checkout_session::build(&self.mint, params, &wish, self.public_url);
        let id = text(&session, "/id").unwrap_or_default().to_owned();
        let lines = wish.lines.iter().map(|line| line_item::build(&self.mint, line)).collect();
        self.store.put_line_items(&id, lines);
        // What the later payment will carry waits beside the session, out of the API's sight.
        self.store.put_intent_data(&id, params.at("/payment_intent_data").cloned().unwrap_or_default());
        self.store.put(session.clone());
        Ok(session)
    }

    /// The session as it is now; one whose time is over expires here, when somebody looks.
    pub(crate) fn session(&mut self, id: &str) -> Result<Value, Failure> {
        let found = self.store.of_kind("checkout.session", id).cloned();
        let session = found.ok_or_else(|| Failure::no_such("checkout.session", id))?;
        let over = session.get("expires_at").and_then(Value::as_i64).is_some_and(|at| at <= self.mint.now);
        if over && text(&session, "/status") == Some("open") { Ok(self.close(session)) } else { Ok(session) }
    }

    fn close(&mut self, mut session: Value) -> Value {
        set(&mut session, [("status", json!("expired")), ("url", Value::Null)]);
        self.store.put(session.clone());
        self.tell("checkout.session.expired", &session);
        session
    }

    pub(crate) fn expire(&mut self, id: &str) -> Result<Value, Failure> {
        let session = self.open_session(id, "expired")?;
        Ok(self.close(session))
    }

    fn open_session(&mut self, id: &str, verb: &str) -> Result<Value, Failure> {
        let session = self.session(id)?;
        match text(&session, "/status") {
            Some("open") => Ok(session),
            other => Err(Failure::invalid(format!(
                "Only Checkout Sessions with a status in [\"open\"] can be {verb}. This Checkout Session has a \
                 status of `{}`.",
                other.unwrap_or_default()
            ))),
        }
    }

    /// The customer's card is taken. Paying twice gives the paid session again and no second charge.
    pub(crate) fn pay(&mut self, id: &str, email: Option<&str>) -> Result<Value, Failure> {
        let session = self.session(id)?;
        if text(&session, "/payment_status") == Some("paid") {
            return Ok(session);
        }
        let mut session = self.open_session(id, "paid")?;
        let email = email.or(text(&session, "/customer_email")).unwrap_or("buyer@example.com").to_owned();
        if text(&session, "/customer_creation") == Some("always") && text(&session, "/customer").is_none() {
            let params = Params(json!({"email": email}));
            let customer = self.create_customer(&params)?;
            set(&mut session, [("customer", json!(text(&customer, "/id")))]);
        }
        let (mut intent, mut charge) = self.try_card(&session, &email, Verdict::Approved);
        let amount =
            intent.get("amount").and_then(Value::as_i64).ok_or_else(|| Failure::internal("No amount."))?;
        let transaction = balance_transaction::build(&self.mint, Kind::Charge, &charge, amount);
        set(&mut charge, [("balance_transaction", json!(text(&transaction, "/id")))]);
        set(
            &mut intent,
            [
                ("amount_received", json!(amount)),
                ("last_payment_error", Value::Null),
                ("payment_method", json!(text(&charge, "/payment_method"))),
                ("status", json!("succeeded")),
            ],
        );
        let details = json!({
            "address": charge.pointer("/billing_details/address"),
            "business_name": null, "email": email, "individual_name": null, "name": "Simulated Customer",
            "phone": null, "tax_exempt": "none", "tax_ids": [],
        });
        set(
            &mut session,
            [
                ("customer_details", details),
                ("payment_intent", json!(text(&intent, "/id"))),
                ("payment_status", json!("paid")),
                ("status", json!("complete")),
                ("url", Value::Null),
            ],
        );
        for object in [&transaction, &charge, &intent, &session] {
            self.store.put(object.clone());
        }
        self.tell("payment_intent.succeeded", &intent);
        self.tell("charge.succeeded", &charge);
        self.tell("checkout.session.completed", &session);
        Ok(session)
    }

    /// The customer's card is declined; the session stays open for another try.
    pub(crate) fn decline(&mut self, id: &str, email: Option<&str>) -> Result<Value, Failure> {
        let mut session = self.open_session(id, "paid")?;
        let email = email.or(text(&session, "/customer_email")).unwrap_or("buyer@example.com").to_owned();
        let (mut intent, charge) = self.try_card(&session, &email, Verdict::Declined);
        let error = json!({
            "advice_code": "try_again_later", "charge": text(&charge, "/id"), "code": "card_declined",
            "decline_code": "generic_decline",
            "doc_url": "https://stripe.com/docs/error-codes/card-declined",
            "message": DECLINE_MESSAGE, "type": "card_error",
        });
        set(&mut intent, [("last_payment_error", error), ("status", json!("requires_payment_method"))]);
        set(&mut session, [("payment_intent", json!(text(&intent, "/id")))]);
        for object in [&charge, &intent, &session] {
            self.store.put(object.clone());
        }
        self.tell("payment_intent.payment_failed", &intent);
        self.tell("charge.failed", &charge);
        Ok(session)
    }

    /// The session's intent, made at its first try, and a charge for this try. Neither is stored yet.
    fn try_card(&mut self, session: &Value, email: &str, verdict: Verdict) -> (Value, Value) {
        let earlier = text(session, "/payment_intent").and_then(|id| self.store.get(id)).cloned();
        let mut intent = earlier.unwrap_or_else(|| payment_intent::build(&self.mint, &self.purpose(session)));
        let payment_method = self.mint.id("pm_1", 23);
        let attempt = Try { intent: &intent, payment_method: &payment_method, email: Some(email), verdict };
        let charge = charge::build(&self.mint, &attempt);
        set(&mut intent, [("latest_charge", json!(text(&charge, "/id")))]);
        (intent, charge)
    }

    fn purpose(&self, session: &Value) -> Purpose {
        let data = self.store.intent_data(text(session, "/id").unwrap_or_default());
        let words = |pointer: &str| text(&data, pointer).map(str::to_owned);
        Purpose {
            amount: session.get("amount_total").and_then(Value::as_i64).unwrap_or_default(),
            currency: text(session, "/currency").unwrap_or_default().to_owned(),
            customer: text(session, "/customer").map(str::to_owned),
            description: words("/description"),
            metadata: data.get("metadata").cloned().unwrap_or_else(|| json!({})),
            receipt_email: words("/receipt_email"),
        }
    }
}
