// The page reads well without this: it adds the gallery's controls and marks where one is.
(() => {
  "use strict";
  const root = document.documentElement;
  const one = (id) => document.getElementById(id);

  const controls = document.querySelector(".controls");
  const slider = one("opacity");
  const showOpacity = () => {
    root.style.setProperty("--heat", String(slider.value / 100));
    one("opacity-shown").textContent = `${slider.value} %`;
  };
  slider.addEventListener("input", showOpacity);

  const shots = [...document.querySelectorAll(".shot")];
  const filters = { class: one("filter-class"), backbone: one("filter-backbone"), right: one("filter-right") };
  const filter = () => {
    const wanted = Object.entries(filters).filter(([, select]) => select && select.value !== "");
    let shown = 0;
    for (const shot of shots) {
      shot.hidden = !wanted.every(([key, select]) => shot.dataset[key] === select.value);
      shown += shot.hidden ? 0 : 1;
    }
    for (const group of document.querySelectorAll(".end, .choice, .class")) {
      group.hidden = wanted.length > 0 && !group.querySelector(".shot:not([hidden])");
    }
    one("filter-count").textContent = `${shown} of ${shots.length} shown`;
  };
  for (const select of Object.values(filters)) {
    if (select) select.addEventListener("change", filter);
  }
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  showOpacity();
  filter();

  const links = new Map(
    [...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]),
  );
  const inSight = new Set();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) inSight.add(entry.target.id);
        else inSight.delete(entry.target.id);
      }
      const current = [...links.keys()].find((id) => inSight.has(id));
      for (const [id, link] of links) {
        if (id === current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    },
    { rootMargin: "-20% 0px -60% 0px" },
  );
  for (const id of links.keys()) observer.observe(one(id));
})();
