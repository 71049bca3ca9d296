// Waits for the payment provider's word, then shows the page again. Without it the page reloads by itself.
"use strict";

const waiting = document.querySelector("[data-purchase-status]");
if (waiting) {
  document.querySelector("noscript")?.remove();
  let tries = 0;
  const ask = async () => {
    tries += 1;
    try {
      const answer = await fetch(waiting.dataset.purchaseStatus, { headers: { accept: "application/json" } });
      if (answer.ok && (await answer.json()).state !== "open") { location.reload(); return; }
    } catch { /* the next try may work */ }
    if (tries < 300) setTimeout(ask, tries < 30 ? 1000 : 5000);
  };
  setTimeout(ask, 700);
}
