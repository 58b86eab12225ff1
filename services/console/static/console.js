// The live parts. Every page and form works without this file.
"use strict";

const $ = (selector, from = document) => from.querySelector(selector);
const LINES_KEPT = 600;

// ---- the stream: goes on where the page ends; a pause ends the connection, and misses nothing ----

function stream(list) {
  const state = $(".state"), button = $("[data-pause]");
  let source = null, after = list.dataset.after;

  const say = (words, kind = "") => { state.textContent = words; state.className = `state ${kind}`; };

  function open() {
    source = new EventSource(`${list.dataset.stream}&after=${after}`);
    source.onopen = () => say("Live");
    source.onerror = () => say("Trying again …", "away");
    source.onmessage = (message) => { after = message.lastEventId; show(message.data); };
    source.addEventListener("anew", () => location.reload());
  }

  function show(items) {
    const fresh = document.createElement("template");
    fresh.innerHTML = items;
    for (const line of fresh.content.children) line.classList.add("fresh");
    $("main > .empty")?.remove();
    list.prepend(fresh.content);
    while (list.children.length > LINES_KEPT) list.lastElementChild.remove();
  }

  function toggle() {
    const pausing = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(pausing));
    button.textContent = pausing ? "Resume" : "Pause";
    if (pausing) { source.close(); source = null; say("Paused; nothing is missed", "paused"); } else open();
  }

  button.hidden = false;
  button.onclick = toggle;
  away(() => source?.close(), () => source && open());
  open();
  return toggle;
}

// A hidden page gives its connection back: browsers allow only six to one site.
function away(leave, come) {
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : come()));
}

// ---- other pages: listen for events that concern them, then load again or offer to ----

function follow(main) {
  let source = null, later = 0, heard = 0;
  const open = () => {
    source = new EventSource(main.dataset.live);
    source.onmessage = (message) => {
      const items = document.createElement("template");
      items.innerHTML = message.data;
      for (const line of items.content.children) heard += Number(line.dataset.rows);
      main.dataset.live = main.dataset.live.replace(/after=[^&]*/, `after=${message.lastEventId}`);
      clearTimeout(later);
      later = setTimeout(async () => {
        if (main.dataset.refresh === "auto" && (await again(main))) heard = 0;
        else offer(heard);
      }, 600);
    };
    source.addEventListener("anew", () => location.reload());
  };
  away(() => source.close(), open);
  open();
}

// Put the page as it is now in place of this one, unless somebody is in the middle of something; says whether it did.
async function again(main) {
  if (main.contains(document.activeElement) && document.activeElement !== main) return false;
  if ($("details[open]", main)) return false;
  const text = await fetch(location.href, { headers: { Accept: "text/html" } })
    .then((answer) => (answer.ok ? answer.text() : null))
    .catch(() => null); // away, or broken off as the page is left
  if (!text) return false;
  const page = new DOMParser().parseFromString(text, "text/html");
  main.innerHTML = $("main", page).innerHTML;
  $(".clock").innerHTML = $(".clock", page).innerHTML;
  $(".news").hidden = true;
  return true;
}

function offer(number) {
  const news = $(".news");
  news.innerHTML = `${number} new event${number === 1 ? "" : "s"}. <a href="">Reload</a>`;
  news.hidden = false;
}

// ---- keys ----

function keys(pause) {
  const pages = { t: "/", s: "/stream", p: "/patients", h: "/health" };
  let went = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    if (Date.now() - went < 1000 && pages[event.key]) { location.href = pages[event.key]; return; }
    const act = {
      g: () => { went = Date.now(); },
      j: () => step(1),
      k: () => step(-1),
      p: () => pause?.(),
      "/": () => $("[data-search]")?.focus(),
      "?": () => $(".keys").showModal(),
    }[event.key];
    if (act) { act(); event.preventDefault(); }
  });
}

// The next row's first link gets the focus, so that Enter opens it.
function step(by) {
  const rows = [...document.querySelectorAll(".rows tbody tr, .line, .link")].filter((row) => $("a", row) && row.offsetParent);
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const to = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by];
  if (to) { $("a", to).focus(); to.scrollIntoView({ block: "nearest" }); }
}

const main = $("main"), list = $("[data-stream]");
keys(list ? stream(list) : null);
if (main.dataset.live) follow(main);
if (main.dataset.again) setInterval(() => document.hidden || again(main), Number(main.dataset.again) * 1000);
