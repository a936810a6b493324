"use strict";
for (const study of document.querySelectorAll("[data-study]")) {
  filters(study);
  for (const films of study.querySelectorAll(".films")) sideBySide(films);
}
// A table that is wider than the page says so.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const box = target.closest(".scroll");
    box.closest("figure").classList.toggle("scrolls", box.scrollWidth > box.clientWidth);
  }
});
for (const inside of document.querySelectorAll(".scroll, .scroll > table")) widths.observe(inside);

// Checkboxes choose tasks and configurations: what carries another data-task or data-arm is hidden.
function filters(study) {
  const form = study.querySelector(".filters");
  if (!form) return;
  const boxes = [...form.querySelectorAll("[data-filter]")];
  const marked = [...study.querySelectorAll("[data-task], [data-arm]")];
  const output = form.querySelector("output"), all = form.querySelector("button");
  function apply() {
    const off = { task: new Set(), arm: new Set() };
    for (const box of boxes) if (!box.checked) off[box.dataset.filter].add(box.value);
    for (const node of marked) {
      node.toggleAttribute("hidden", off.task.has(node.dataset.task) || off.arm.has(node.dataset.arm));
    }
    const count = (kind, name) => {
      const mine = boxes.filter((box) => box.dataset.filter === kind);
      return mine.length ? [`${mine.filter((box) => box.checked).length} of ${mine.length} ${name}`] : [];
    };
    output.textContent = `showing ${[...count("task", "tasks"), ...count("arm", "configurations")].join(", ")}`;
    all.hidden = boxes.every((box) => box.checked);
  }
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

// Two films of one seed under one clock. A film that is over shows its last picture until the longer one ends.
function sideBySide(figure) {
  const films = JSON.parse(figure.querySelector("[data-films]").textContent);
  const choose = (name) => figure.querySelector(`[data-choose=${name}]`);
  const control = (name) => figure.querySelector(`[data-do=${name}]`);
  const videos = { left: null, right: null };
  for (const side in videos) videos[side] = figure.querySelector(`[data-side=${side}]`);
  const both = Object.values(videos);
  const sceneOf = (film) => `${film.place}, seed ${film.seed}`;
  const scenes = [...new Set(films.map(sceneOf))];
  const clock = figure.querySelector("[data-clock]");
  const fill = (select, names, chosen) => {
    select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  };
  const longest = () => both.reduce((a, b) => ((b.duration || 0) > (a.duration || 0) ? b : a));
  const ended = () => both.every((video) => video.parentElement.hidden || video.ended || !video.src);
  let playing = false;

  function show(side) {
    const film = films.find((film) => sceneOf(film) === choose("scene").value && film.arm === choose(side).value);
    videos[side].parentElement.hidden = !film;
    if (!film) return;
    videos[side].src = film.src;
    videos[side].setAttribute("aria-label", `${film.arm}, ${sceneOf(film)}: ${film.outcome}`);
    figure.querySelector(`[data-caption=${side}]`).textContent = `${film.arm}: ${film.outcome}`;
  }
  function scene() {
    const arms = films.filter((film) => sceneOf(film) === choose("scene").value).map((film) => film.arm);
    fill(choose("left"), arms, arms[0]);
    fill(choose("right"), arms, arms[arms.length - 1]);
    choose("right").parentElement.hidden = arms.length < 2;
    show("left");
    if (arms.length > 1) show("right"); else videos.right.parentElement.hidden = true;
    seek(0);
  }
  function seek(seconds) {
    for (const video of both) if (video.src) video.currentTime = Math.min(seconds, video.duration || seconds);
    tell(seconds);
  }
  function tell(seconds) {
    control("seek").max = longest().duration || 1;
    control("seek").value = seconds;
    clock.textContent = `${seconds.toFixed(2)} s`;
  }
  function play(on) {
    if (on && ended()) seek(0);
    playing = on;
    control("play").textContent = on ? "pause" : "play";
    for (const video of both) {
      video.playbackRate = Number(control("rate").value);
      if (!on || video.parentElement.hidden) video.pause();
      else if (video.src && !video.ended) video.play().catch(() => play(false));
    }
    if (on) requestAnimationFrame(tick);
  }
  function tick() {
    if (!playing) return;
    const lead = longest();
    for (const video of both) {
      if (video !== lead && !video.ended && Math.abs(video.currentTime - lead.currentTime) > 0.12
          && lead.currentTime < video.duration) video.currentTime = lead.currentTime;
    }
    tell(lead.currentTime);
    if (ended()) play(false); else requestAnimationFrame(tick);
  }
  fill(choose("scene"), scenes, scenes[0]);
  choose("scene").addEventListener("change", () => { play(false); scene(); });
  for (const side in videos) {
    choose(side).addEventListener("change", () => { play(false); show(side); seek(0); });
    videos[side].addEventListener("loadedmetadata", () => tell(longest().currentTime));
  }
  control("play").addEventListener("click", () => play(!playing));
  control("restart").addEventListener("click", () => { play(false); seek(0); });
  control("seek").addEventListener("input", (event) => { play(false); seek(Number(event.target.value)); });
  control("larger").addEventListener("click", (event) => {
    const on = figure.classList.toggle("larger");
    event.target.setAttribute("aria-pressed", on);
  });
  control("rate").addEventListener("change", () => play(playing));
  scene();
}
