// Enhancements only: every page works without this file.
"use strict";

// Copy buttons: `data-copy` names the element whose text is copied.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => { button.textContent = label; }, 1800);
  });
}

// Filters apply as soon as a choice is made; the button stays for everyone else.
for (const form of document.querySelectorAll("form[data-instant]")) {
  form.addEventListener("change", (event) => {
    if (event.target.tagName === "SELECT") form.requestSubmit();
  });
}

// On small screens the account's tabs scroll: the current one is brought into sight.
document.querySelector(".tabs-nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A form is sent once: the second click of a double click buys nothing.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    const button = form.querySelector("button[data-busy]");
    if (button) button.textContent = button.dataset.busy;
  });
  addEventListener("pageshow", (event) => { if (event.persisted) delete form.dataset.sent; });
}

// On a phone the account tabs scroll: the current one is brought into view.
document.querySelector(".tabs-nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// "/" jumps to the search field.
addEventListener("keydown", (event) => {
  const typing = /^(input|textarea|select)$/i.test(event.target.tagName);
  const search = document.querySelector("input[type=search]");
  if (event.key === "/" && !typing && search) { event.preventDefault(); search.focus(); }
});

// A price file is read into the text area, so that one form serves both.
const file = document.querySelector("[data-file-into]");
if (file) {
  file.closest("[hidden]")?.removeAttribute("hidden");
  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    if (!chosen) return;
    document.getElementById(file.dataset.fileInto).value = await chosen.text();
    const source = document.getElementById("source");
    if (source && !source.value) source.value = chosen.name;
  });
}
