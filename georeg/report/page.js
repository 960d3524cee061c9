"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const resultText = document.getElementById("result").textContent;
  const result = JSON.parse(resultText);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const FLICKER_MS = 250; // one picture and the other, twice a second
  const NAMES = { reference: "Reference", before: "Before", after: "After" };

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const pressed = (buttons, chosen) => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b === chosen)));
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function segments(label, entries, choose) {
    const group = make("div", { class: "segments", role: "group", "aria-label": label });
    entries.forEach(([value, name], k) => {
      const button = make("button", { type: "button", "aria-pressed": String(k === 0), "data-value": value }, name);
      button.addEventListener("click", () => { pressed([...group.children], button); choose(value); });
      group.append(button);
    });
    return group;
  }

  function roundLength(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return power * Math.max(...[1, 2, 5].filter((k) => k * power <= value * 1.0000001), 1);
  }

  function viewer(place) {
    const views = new Map([...place.querySelectorAll(".view")].map((v) => [v.dataset.view, v.querySelector("img")]));
    const names = [...views.keys()];
    const first = views.get(names[0]);
    const size = [Number(first.getAttribute("width")), Number(first.getAttribute("height"))];
    const at = place.dataset.at.split(",").map(Number);
    const gsd = Number(place.dataset.gsd), unit = place.dataset.unit;
    const state = { mode: "swipe", share: 50, zoom: 1, centre: [size[0] / 2, size[1] / 2], flipped: false, timer: 0 };
    const sides = ["reference", names[names.length - 1]];

    const stage = make("div", { class: "stage", role: "group", "aria-label": place.querySelector("h3").textContent });
    const layers = sides.map(() => make("div", { class: "layer" }, make("img", { alt: "", draggable: "false" })));
    const labels = [make("span", { class: "side" }), make("span", { class: "side right" })];
    const handle = make("div", { class: "handle", role: "slider", tabindex: "0", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Share of the left picture" });
    const bar = make("span", { class: "scale" }, make("i"));
    const ring = make("span", { class: "ring" });
    stage.append(...layers, ring, handle, ...labels, bar);

    const place_ = () => {
      const side = [stage.clientWidth, stage.clientHeight];
      const corner = [0, 1].map((axis) => {
        const shown = size[axis] * state.zoom;
        if (shown <= side[axis]) { state.centre[axis] = size[axis] / 2; return (side[axis] - shown) / 2; }
        const half = side[axis] / 2 / state.zoom;
        state.centre[axis] = clamp(state.centre[axis], half, size[axis] - half);
        return side[axis] / 2 - state.centre[axis] * state.zoom;
      });
      layers.forEach((layer) => { layer.firstChild.style.transform = `translate(${corner[0]}px,${corner[1]}px) scale(${state.zoom})`; });
      ring.style.left = `${corner[0] + at[0] * state.zoom}px`;
      ring.style.top = `${corner[1] + at[1] * state.zoom}px`;
      const length = roundLength(0.32 * side[0] * gsd / state.zoom);
      bar.style.width = `${length / gsd * state.zoom}px`;
      bar.firstChild.textContent = unit === "m" && length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(1))} ${unit}`;
    };
    const draw = () => {
      const [under, over] = layers;
      layers.forEach((layer, k) => {
        const img = layer.firstChild, source = views.get(sides[k]);
        if (img.src !== source.src) { img.src = source.src; img.width = size[0]; img.height = size[1]; }
      });
      handle.hidden = state.mode !== "swipe";
      over.classList.toggle("checker", state.mode === "checker");
      over.style.clipPath = state.mode === "swipe" ? `inset(0 0 0 ${state.share}%)` : "none";
      over.style.visibility = state.mode === "flicker" && !state.flipped ? "hidden" : "visible";
      under.style.visibility = "visible";
      handle.style.left = `${state.share}%`;
      handle.setAttribute("aria-valuenow", String(Math.round(state.share)));
      handle.setAttribute("aria-valuetext", `${Math.round(state.share)} % ${NAMES[sides[0]]}, the rest ${NAMES[sides[1]]}`);
      labels.forEach((label, k) => {
        label.className = `side ${k ? "right " : ""}${sides[k]}`;
        label.textContent = state.mode === "checker" ? `${k ? "◩" : "◪"} ${NAMES[sides[k]]}` : NAMES[sides[k]];
        label.style.visibility = state.mode === "flicker" && Boolean(k) !== state.flipped ? "hidden" : "visible";
      });
      stage.dataset.shown = state.mode === "flicker" ? sides[Number(state.flipped)] : "both";
      stage.classList.toggle("zoomed", state.zoom > 1);
    };

    const setShare = (x) => {
      const box = stage.getBoundingClientRect();
      state.share = clamp(100 * (x - box.left) / box.width, 0, 100);
      draw();
    };
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      state.share = clamp(state.share + step, 0, 100);
      draw();
    });
    let drag = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const swiping = state.mode === "swipe" && (event.target === handle || state.zoom === 1);
      drag = { swiping, at: [event.clientX, event.clientY], centre: [...state.centre] };
      if (swiping || state.zoom > 1) stage.setPointerCapture(event.pointerId);
      if (swiping) setShare(event.clientX);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!drag) return;
      if (drag.swiping) setShare(event.clientX);
      else { state.centre = [0, 1].map((k) => drag.centre[k] - ([event.clientX, event.clientY][k] - drag.at[k]) / state.zoom); place_(); }
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(name, () => { drag = null; });

    const auto = make("button", { type: "button", "aria-pressed": "false", "data-flicker": "auto" }, "Flicker");
    const hold = make("button", { type: "button", "data-flicker": "hold", title: "Shows the other picture while it is held" }, "Hold for the other");
    const stop = () => { clearInterval(state.timer); state.timer = 0; auto.setAttribute("aria-pressed", "false"); };
    const flicker = make("div", { class: "segments", role: "group", "aria-label": "Flicker" }, auto, hold);
    flicker.hidden = true;
    auto.textContent = "Run";
    auto.addEventListener("click", () => {
      if (state.timer) { stop(); return; }
      state.timer = setInterval(() => { state.flipped = !state.flipped; draw(); }, FLICKER_MS);
      auto.setAttribute("aria-pressed", "true");
    });
    const holdTo = (flipped) => { stop(); state.flipped = flipped; draw(); };
    hold.addEventListener("pointerdown", (event) => { hold.setPointerCapture(event.pointerId); holdTo(true); });
    for (const name of ["pointerup", "pointercancel", "blur"]) hold.addEventListener(name, () => holdTo(false));
    hold.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); holdTo(true); } });
    hold.addEventListener("keyup", () => holdTo(false));
    hold.addEventListener("contextmenu", (event) => event.preventDefault());

    const note = make("p", { class: "note", hidden: "" }, "It does not run by itself: your system prefers less motion. Hold the button instead.");
    const choose = (mode) => {
      stop();
      state.mode = mode;
      state.flipped = false;
      flicker.hidden = mode !== "flicker";
      auto.disabled = still.matches;
      note.hidden = !(mode === "flicker" && still.matches);
      if (mode === "flicker" && !still.matches) auto.click();
      draw();
    };
    const modes = segments("How to compare", [["swipe", "Swipe"], ["flicker", "Flicker"], ["checker", "Checkerboard"]], choose);
    const zoom = segments("Zoom", [["1", "1:1"], ["2", "2:1"], ["4", "4:1"]], (value) => {
      if (state.zoom === 1) state.centre = [...at];
      state.zoom = Number(value);
      draw();
      place_();
    });
    const selects = sides.map((name, k) => {
      const select = make("select", { "aria-label": k ? "Right or upper picture" : "Left or lower picture" });
      names.forEach((n) => select.append(make("option", { value: n }, NAMES[n])));
      select.value = name;
      select.addEventListener("change", () => { sides[k] = select.value; draw(); });
      return select;
    });
    const pair = make("label", {}, selects[0], "with", selects[1]);
    const controls = make("div", { class: "controls" }, modes, zoom, flicker, pair);
    place.querySelector(".views").before(stage, controls, note);
    const filling = ["4", "2", "1"].find((z) => Number(z) * Math.max(...size) <= 1.3 * stage.clientWidth) || "1";
    zoom.querySelector(`[data-value="${filling}"]`).click();
    addEventListener("resize", place_);
  }

  function number(value) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    const text = size === 0 ? "0" : size < 1e-4 || size >= 1e7 ? value.toExponential(2)
      : value.toFixed(clamp(2 - Math.floor(Math.log10(size)), 0, 6));
    return text.replace("-", "−");
  }

  function figuresOf(point) {
    const points = result.tie_points, unit = point.closest("svg").dataset.unit, axes = unit === "px" ? ["right", "up"] : ["east", "north"];
    const gsd = result.after ? result.after.gsd : points.gsd / points.reduction;
    const n = Number(point.dataset.point);
    const group = point.closest("[data-group]").dataset.group;
    const title = document.querySelector(`[data-toggle="${group}"] span`).textContent;
    const displacement = [0, 1].map((k) => (points.ref_xy[n][k] - points.tgt_xy[n][k]) / gsd);
    const residual = point.dataset.residual ? point.dataset.residual.split(",").map(Number) : null;
    const sigma = [0, 1].map((k) => Math.sqrt(points.cov[n][k][k]) / gsd);
    const body = make("tbody");
    const row = (name, px) => {
      const inUnit = unit && unit !== "px" ? make("td", {}, px.map((v) => number(v * gsd)).join(", ") + ` ${unit}`) : "";
      body.append(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, px.map(number).join(", ") + " px"), inUnit));
    };
    row("displacement", displacement);
    if (residual) { row("residual", residual); row("radial", [Math.hypot(...residual)]); }
    row("own σ", sigma);
    const first = make("div", {}, make("strong", {}, `Point ${n}`), ` – ${title}`);
    const last = make("div", {}, `score ${number(points.score[n])}; ${axes.join(", ")}`);
    return [first, make("table", {}, body), last];
  }

  function tips() {
    const tip = document.getElementById("tip");
    let picked = null;
    const hide = () => { tip.hidden = true; if (picked) picked.classList.remove("picked"); picked = null; };
    const show = (point, event) => {
      hide();
      picked = point;
      point.classList.add("picked");
      tip.replaceChildren(...figuresOf(point));
      tip.hidden = false;
      const width = tip.offsetWidth, room = root.clientWidth;
      tip.style.left = `${clamp(event.pageX + 14, 8, Math.max(8, room - width - 8))}px`;
      const below = event.clientY + tip.offsetHeight + 24 > innerHeight;
      tip.style.top = `${below ? event.pageY - tip.offsetHeight - 14 : event.pageY + 16}px`;
    };
    document.querySelectorAll(".map").forEach((map) => {
      const near = (event) => {
        const own = event.target.closest("[data-point]");
        if (own) return own;
        let best = null, least = event.pointerType === "touch" ? 22 : 9;
        map.querySelectorAll("g.points:not([data-hidden]) [data-point]").forEach((point) => {
          const box = point.getBoundingClientRect();
          const distance = Math.hypot((box.left + box.right) / 2 - event.clientX, (box.top + box.bottom) / 2 - event.clientY);
          if (distance < least) { least = distance; best = point; }
        });
        return best;
      };
      map.addEventListener("pointermove", (event) => {
        if (event.pointerType === "touch") return;
        const point = near(event);
        if (!point) hide();
        else if (point !== picked) show(point, event);
      });
      map.setAttribute("tabindex", "0");
      map.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const points = [...map.querySelectorAll("g.points:not([data-hidden]) [data-point]")];
        const next = points[(points.indexOf(picked) + step + points.length) % points.length];
        const box = next.getBoundingClientRect();
        show(next, { pageX: box.right + scrollX, pageY: box.bottom + scrollY, clientY: box.bottom });
      });
      map.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); });
      map.addEventListener("click", (event) => { const point = near(event); if (point) show(point, event); else hide(); });
    });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
    document.addEventListener("click", (event) => { if (!event.target.closest(".map")) hide(); });
  }

  document.querySelectorAll(".place").forEach(viewer);
  tips();
  document.querySelectorAll("[data-toggle]").forEach((button) => button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    const name = button.dataset.toggle;
    document.querySelectorAll(`[data-group="${name}"], [data-arrows="${name}"]`).forEach((g) => g.toggleAttribute("data-hidden", !shown));
  }));
  const arrows = [...document.querySelectorAll("[data-arrows-of]")];
  arrows.forEach((button) => button.addEventListener("click", () => {
    pressed(arrows, button);
    document.querySelector(".map").classList.toggle("show-before", button.dataset.arrowsOf === "before");
  }));
  document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const pre = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(pre.textContent);
    } catch { // a page opened from a file may not be allowed to: then it is marked, to be copied by hand
      getSelection().selectAllChildren(pre);
      button.textContent = "Marked";
      return;
    }
    button.textContent = "Copied";
  }));
  document.querySelectorAll("[data-download]").forEach((button) => button.addEventListener("click", () => {
    const link = make("a", { href: URL.createObjectURL(new Blob([resultText], { type: "application/json" })), download: "result.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));
})();
