// "Try it": asks the gateway with a pass of five minutes, never with an API key, and shows the answer as it
// comes, with its cost from the usage chunk.
"use strict";

const box = document.querySelector("[data-try]");
if (box) start(box);

function start(form) {
  const output = document.getElementById("try-answer");
  const status = document.getElementById("try-status");
  const button = form.querySelector("button");
  form.hidden = false;
  let pass = null;

  async function token() {
    if (pass && pass.until > Date.now()) return pass.token;
    const answer = await fetch("/account/token", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ csrf: form.elements.csrf.value }),
    });
    if (!answer.ok || answer.redirected) throw new Error("Your session has ended: reload the page and sign in again.");
    const body = await answer.json();
    pass = { token: body.token, until: Date.now() + (body.expires_in - 20) * 1000 };
    return pass.token;
  }

  async function explain(answer) {
    const body = await answer.json().catch(() => null);
    return body?.error?.message ?? `The gateway answered with status ${answer.status}.`;
  }

  function take(event) {
    if (event.error) throw new Error(event.error.message ?? "The provider failed in the middle of the answer.");
    output.textContent += event.choices?.[0]?.delta?.content ?? "";
    output.scrollTop = output.scrollHeight;
    if (!event.usage) return;
    const { cost, prompt_tokens: sent, completion_tokens: received } = event.usage;
    const price = cost === undefined ? "" : ` · cost $${plain(cost)}`;
    status.textContent = `${sent} tokens in, ${received} out${price}`;
  }

  // 1.2e-7 as 0.00000012.
  function plain(number) {
    return Number(number).toFixed(9).replace(/0+$/, "").replace(/\.$/, "");
  }

  async function read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const data = line.startsWith("data:") ? line.slice(5).trim() : "";
        if (data && data !== "[DONE]") take(JSON.parse(data));
      }
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    output.hidden = false;
    output.textContent = "";
    status.textContent = "Asking…";
    status.classList.remove("error");
    try {
      const answer = await fetch(`${form.dataset.api}/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${await token()}`, "x-title": "Farebox try it" },
        body: JSON.stringify({
          model: form.dataset.model,
          stream: true,
          max_tokens: 512,
          messages: [{ role: "user", content: form.elements.prompt.value }],
        }),
      });
      if (!answer.ok) throw new Error(await explain(answer));
      await read(answer.body);
      if (status.textContent === "Asking…") status.textContent = "Done.";
    } catch (error) {
      status.textContent = error.message;
      status.classList.add("error");
    } finally {
      button.disabled = false;
    }
  });
}
