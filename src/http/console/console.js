// Every page works without this. It puts the cursor into the search field on `/`, and keeps a form from being sent twice.
"use strict";
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = document.querySelector(".find input");
  if (field) {
    event.preventDefault();
    field.focus();
  }
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  // After the browser has read which button was pressed.
  setTimeout(() => form.querySelectorAll("button").forEach((button) => (button.disabled = true)));
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
