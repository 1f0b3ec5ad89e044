// The gallery of all test images: filters, sorts and shows them, one page at a time.

const PAGE = 24;
const CARD_MAP = 96; // pixels

class Explorer {
  constructor(images, viewer) {
    this.images = images;
    this.viewer = viewer;
    this.page = 0;
    this.rows = [];
    this.back = null;
    const control = (name) => document.getElementById(`images-${name}`);
    this.control = control;
    this.selects = Object.fromEntries(
      ["backbone", "stage", "label", "taken", "right", "order", "map"].map((name) => [name, control(name)]),
    );
    this.start = this.values();
    for (const select of Object.values(this.selects)) {
      if (select) select.addEventListener("change", () => this.choose());
    }
    control("beside")?.addEventListener("change", () => this.show());
    control("controls").addEventListener("submit", (event) => event.preventDefault());
    control("reset").addEventListener("click", () => this.set(this.start));
    control("back").addEventListener("click", () => this.back.focus());
    control("previous").addEventListener("click", () => this.turn(-1));
    control("next").addEventListener("click", () => this.turn(1));
    document.getElementById("images").hidden = false;
    this.choose();
  }

  values() {
    return Object.fromEntries(
      Object.entries(this.selects).filter(([, select]) => select).map(([name, select]) => [name, select.value]),
    );
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) {
      if (this.selects[name]) this.selects[name].value = value;
    }
    this.choose();
  }

  // Shows the images of one cell of a confusion matrix; `cell` gets the focus back.
  open(values, cell) {
    this.set({ ...this.start, ...values });
    this.back = cell;
    this.control("back").hidden = false;
    this.control("title").focus();
    document.getElementById("images").scrollIntoView();
  }

  get backbone() {
    return Number(this.selects.backbone?.value ?? 0);
  }

  get stage() {
    return Number(this.selects.stage.value);
  }

  wanted(row) {
    const { images, backbone, stage } = this;
    const { label, taken, right } = this.values();
    if (label !== "" && images.labels[row] !== Number(label)) return false;
    const predicted = images.predicted(backbone, stage, row);
    if (taken !== "" && predicted !== Number(taken)) return false;
    if (right === "apart") return images.backbones.some((_, k) => images.predicted(k, stage, row) !== predicted);
    return right === "" || (predicted === images.labels[row]) === (right === "right");
  }

  choose() {
    const { images, backbone, stage } = this;
    this.rows = Array.from({ length: images.count }, (_, row) => row).filter((row) => this.wanted(row));
    const key = {
      surest: (row) => -images.confidence(backbone, stage, row),
      least: (row) => images.confidence(backbone, stage, row),
      own: (row) => images.own(backbone, stage, row),
      data: (row) => row,
    }[this.selects.order.value];
    this.rows.sort((a, b) => key(a) - key(b) || a - b);
    this.page = 0;
    this.show();
  }

  turn(by) {
    this.page += by;
    this.show();
    document.getElementById("images-controls").scrollIntoView();
  }

  show() {
    const { rows, images } = this;
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    const first = this.page * PAGE;
    const shown = rows.slice(first, first + PAGE);
    this.control("cards").replaceChildren(...shown.map((row, k) => this.card(row, first + k)));
    this.control("cards").classList.toggle("many", this.beside.length > 1);
    const noun = images.count === 1 ? "image" : "images";
    this.control("count").textContent = rows.length
      ? `${rows.length} of ${images.count} ${noun}, showing ${first + 1} to ${first + shown.length}.`
      : "No test image matches.";
    this.control("page").textContent = `Page ${this.page + 1} of ${pages}`;
    this.control("previous").disabled = this.page === 0;
    this.control("next").disabled = this.page >= pages - 1;
    document.querySelector("#images .pages").hidden = pages === 1;
  }

  // The backbones whose answers stand side by side, the chosen one first.
  get beside() {
    const others = this.images.backbones.map((_, k) => k).filter((k) => k !== this.backbone);
    return this.control("beside")?.checked ? [this.backbone, ...others] : [this.backbone];
  }

  card(row, place) {
    const { images, stage } = this;
    const item = make("li");
    const button = make("button", "shot");
    button.type = "button";
    button.dataset.id = images.ids[row];
    const own = make("span", "tile");
    const truth = make("span", "answer");
    truth.append(make("span", "truth", images.classes[images.labels[row]]), make("span", "file", images.files[row]));
    own.append(photograph(images, row), truth);
    button.append(own);
    for (const backbone of this.beside) {
      const tile = make("span", `tile ${images.isRight(backbone, stage, row) ? "is-right" : "is-wrong"}`);
      const words = make("span", "answer");
      if (this.beside.length > 1) words.append(make("span", "by", images.backbones[backbone]));
      words.append(answer(images, row, backbone, stage));
      tile.append(layered(images, row, backbone, stage, this.selects.map.value, CARD_MAP), words);
      button.append(tile);
    }
    button.addEventListener("click", () => this.viewer.open(this.rows, place));
    item.append(button);
    return item;
  }
}
