// Every page works without this. On the live page it puts what happens on top; elsewhere it puts the cursor into the search field on `/`, shows which page of the navigation this is, and keeps a form from being sent twice.
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
// On a phone the navigation is wider than the screen.
document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});

const live = document.querySelector("#live");
if (live) {
  const ROWS_MAX = 200;
  const state = document.querySelector("#live-state");
  const pause = document.querySelector("#live-pause");
  // As the server writes it: 2026-11-27 16:48:56.
  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone: live.dataset.zone, dateStyle: "short", timeStyle: "medium" });
  let source = null;
  let paused = false;
  const cell = (row, label, content, name) => {
    const td = row.insertCell();
    td.dataset.label = label;
    if (name) td.className = name;
    td.append(content ?? "");
  };
  const about = (event) => {
    const place = document.createElement(event.type === "command.rejected" || event.type === "settlement.matched" ? "span" : "a");
    place.className = "id";
    place.textContent = event.invoice ?? "";
    if (place.tagName === "A") place.href = "/order?" + new URLSearchParams({ merchant: event.merchant ?? "", invoice: event.invoice ?? "" });
    return place;
  };
  const show = (event) => {
    const row = document.createElement("tr");
    if (event.more) {
      const td = row.insertCell();
      td.colSpan = 5;
      td.textContent = event.more + " more passed and are not shown";
    } else {
      if (live.querySelector(`[data-event="${CSS.escape(event.id)}"]`)) return;
      row.dataset.event = event.id;
      cell(row, "Time", clock.format(new Date(event.at)), "when");
      const type = document.createElement("code");
      type.textContent = event.type;
      cell(row, "Type", type);
      cell(row, "About", about(event));
      cell(row, "Merchant", event.merchant);
      cell(row, "Amount", event.amount ? "Rp" + Number(event.amount).toLocaleString("id-ID") : "", "money");
    }
    live.prepend(row);
    while (live.rows.length > ROWS_MAX) live.deleteRow(-1);
  };
  const follow = () => {
    const wanted = !paused && !document.hidden;
    if (wanted && !source) {
      source = new EventSource(live.dataset.stream);
      source.onopen = () => (state.textContent = "Connected: what happens appears on top.");
      // A browser that was refused does not try again.
      source.onerror = ({ target }) =>
        (state.textContent = target.readyState === EventSource.CLOSED ? "Ended. Load again." : "Not connected. It tries again.");
      source.onmessage = (message) => show(JSON.parse(message.data));
    } else if (!wanted && source) {
      source.close();
      source = null;
      state.textContent = paused ? "Paused." : "Resting.";
    }
  };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    follow();
  });
  document.addEventListener("visibilitychange", follow);
  follow();
}
