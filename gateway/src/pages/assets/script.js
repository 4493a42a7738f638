// What pages do beyond what they are without it: they follow what happens, copy, hear keys, and remember light or dark.
"use strict";
(() => {
  const root = document.documentElement;
  // Before anything is painted. A browser may keep nothing for us.
  const kept = {
    get: () => { try { return localStorage.getItem("scheme"); } catch { return null; } },
    set: (scheme) => { try { localStorage.setItem("scheme", scheme); } catch { /* then until the next page */ } },
  };
  if (kept.get()) root.dataset.scheme = kept.get();

  addEventListener("DOMContentLoaded", () => {
    switchScheme();
    const live = document.querySelector("[data-live]");
    if (live) follow(live.dataset.live);
    document.addEventListener("click", copy);
    document.addEventListener("keydown", keys());
  });

  function switchScheme() {
    const button = document.getElementById("scheme");
    const dark = () => (root.dataset.scheme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      root.dataset.scheme = dark() ? "light" : "dark";
      kept.set(root.dataset.scheme);
      name();
    });
  }

  // Parts come as they are to be, by the ids of their elements. What is under the pointer, or has the focus, stays as it is
  // until it is left: no row moves away from who is about to click it.
  function follow(path) {
    const waiting = new Map();
    let heard = Date.now();
    let over = "";
    let moved = 0;
    addEventListener("pointermove", () => { moved = Date.now(); });
    const pointed = (part) => Date.now() - moved < 3000 && part.querySelector("a:hover, button:hover, summary:hover, tr:hover");
    const held = (part) => pointed(part)
      || part.contains(document.activeElement) || part.querySelector("details[open]")
      || (getSelection()?.type === "Range" && part.contains(getSelection().anchorNode));
    const show = () => {
      for (const [id, html] of waiting) {
        const part = document.getElementById(id);
        if (part && held(part)) continue;
        waiting.delete(id);
        if (!part) continue;
        const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(id);
        if (fresh) part.replaceWith(document.adoptNode(fresh));
      }
    };
    const open = () => {
      const stream = new EventSource(path);
      stream.addEventListener("parts", (event) => {
        heard = Date.now();
        for (const [id, html] of Object.entries(JSON.parse(event.data))) waiting.set(id, html);
        show();
        root.dataset.live = "yes";
      });
      stream.addEventListener("over", (event) => { over = event.data; stream.close(); });
      stream.addEventListener("error", () => {
        if (stream.readyState === EventSource.CLOSED && !over) setTimeout(open, 5000);
      });
    };
    setInterval(() => {
      show();
      const note = document.getElementById("stale");
      if (!note) return;
      const age = Math.round((Date.now() - heard) / 1000);
      note.hidden = !over && age < 5;
      note.textContent = over ? `stopped: ${over}` : `paused, ${age} s old`;
      if (!note.hidden) root.dataset.live = "no";
    }, 1000);
    open();
  }

  async function copy(event) {
    const from = event.target.closest?.("[data-copy]");
    if (!from || getSelection()?.type === "Range") return;
    try {
      await navigator.clipboard.writeText(from.dataset.copy || from.textContent);
      from.classList.add("copied");
      setTimeout(() => from.classList.remove("copied"), 1500);
    } catch { /* who cannot copy so selects it */ }
  }

  function keys() {
    let went = 0;
    return (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
      if (event.key === "/") {
        document.querySelector("[role=search] input")?.focus();
      } else if (event.key === "?") {
        document.getElementById("keys")?.showModal();
      } else if (event.key === "g") {
        went = Date.now();
        return;
      } else if (Date.now() - went < 1500) {
        const to = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
        went = 0;
        if (!to) return;
        to.click();
      } else {
        return;
      }
      event.preventDefault();
    };
  }
})();
