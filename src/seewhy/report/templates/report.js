// The page works without this: it marks the current section and makes the galleries interactive.

// All sliders for the opacity of the maps share one value.
const shareOpacity = () => {
  const sliders = [...document.querySelectorAll("input.opacity")];
  const show = (value) => {
    document.documentElement.style.setProperty("--heat", String(value / 100));
    for (const slider of sliders) {
      slider.value = value;
      slider.nextElementSibling.textContent = `${value} %`;
    }
  };
  for (const slider of sliders) slider.addEventListener("input", () => show(slider.value));
  show(sliders[0].value);
  for (const form of document.querySelectorAll(".controls[hidden]")) form.hidden = false;
};

// All boxes for the outlines share one value.
const shareOutlines = () => {
  const boxes = [...document.querySelectorAll("input.outlines")];
  for (const box of boxes) {
    box.addEventListener("change", () => {
      for (const other of boxes) other.checked = box.checked;
      document.documentElement.classList.toggle("without-outlines", !box.checked);
    });
  }
};

// The pictures in the page open the large view too, which moves between them.
const openShots = (images, viewer) => {
  const shots = [...document.querySelectorAll(".gallery .shot, .issues .shot")].filter(
    (shot) => images.row.has(shot.dataset.id),
  );
  const rows = shots.map((shot) => images.row.get(shot.dataset.id));
  shots.forEach((shot, place) => {
    const button = make("button", "enlarge", "Large view");
    button.type = "button";
    button.setAttribute("aria-label", `Large view of ${images.files[rows[place]]}`);
    button.addEventListener("click", () => viewer.open(rows, place));
    shot.querySelector(".tile").append(button);
  });
};

// On the screen the long selection shows one class at a time, or all.
const chooseClass = () => {
  const articles = [...document.querySelectorAll(".gallery .class")];
  if (articles.length < 2) return;
  const jump = document.querySelector(".jump");
  const all = make("a", "", "all classes");
  all.href = "#selection";
  jump.append(all);
  const choose = (id) => {
    for (const article of articles) article.toggleAttribute("data-off", Boolean(id) && article.id !== id);
    for (const link of jump.querySelectorAll("a")) {
      if (link === (id ? jump.querySelector(`a[href="#${id}"]`) : all)) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  // The average maps link to their classes too.
  for (const link of document.querySelectorAll('a[href^="#class-"]')) {
    link.addEventListener("click", () => choose(link.hash.slice(1)));
  }
  all.addEventListener("click", () => choose(""));
  choose(articles[0].id);
};

const markContents = () => {
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
  for (const id of links.keys()) observer.observe(document.getElementById(id));
};

const images = new TestImages(JSON.parse(document.getElementById("images-data").textContent));
const viewer = new Viewer(images);
const explorer = new Explorer(images, viewer);
for (const table of document.querySelectorAll("table.matrix")) openMatrix(table, explorer);
for (const button of document.querySelectorAll("button.confusion")) {
  button.disabled = false;
  button.addEventListener("click", () => explorer.open({ ...button.dataset }, button));
}
openShots(images, viewer);
shareOpacity();
shareOutlines();
chooseClass();
markContents();
