/* What the console's pages need of a script: no page is without its content when this does not run. */
(() => {
  "use strict";

  // A session that has ended must not show the login inside of a page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (new URL(event.detail.xhr.responseURL || location.href).pathname.endsWith("/login/")) {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });

  // Figures that could not be renewed say so, instead of looking like those of now.
  const tell = (text) => (event) => {
    const mark = event.detail.elt.querySelector(".fb-as-of");
    if (mark && !mark.classList.contains("fb-stale")) {
      mark.classList.add("fb-stale");
      mark.append(` ${text}`);
    }
  };
  document.addEventListener("htmx:sendError", tell("· the server does not answer; these figures are old"));
  document.addEventListener("htmx:responseError", tell("· the server has answered with an error; these figures are old"));

  // <form data-once>: a double click does not do it twice. A page that the browser has kept may be sent again.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    if (event.target.dataset.once === "sent") event.preventDefault();
    event.target.dataset.once = "sent";
  });
  addEventListener("pageshow", () => document.querySelectorAll("[data-once]").forEach((form) => { form.dataset.once = ""; }));

  // <input type="checkbox" data-check-all="name-of-the-others">
  document.addEventListener("change", (event) => {
    const name = event.target.dataset.checkAll;
    if (name) event.target.form.querySelectorAll(`[name="${name}"]`).forEach((box) => { box.checked = event.target.checked; });
  });

  // <button data-copy="#id-of-what-is-copied">
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.querySelector(button.dataset.copy).textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Browsers give the clipboard to pages of https and of localhost alone.
      const range = document.createRange();
      range.selectNodeContents(document.querySelector(button.dataset.copy));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: press Ctrl-C";
    }
  });
})();
