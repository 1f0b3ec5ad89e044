// The large view of one test image: every backbone's map and probabilities, at both stages.

const LARGE_MAP = 256; // pixels

class Viewer {
  constructor(images) {
    this.images = images;
    this.dialog = document.getElementById("viewer");
    this.rows = [];
    this.place = 0;
    this.part = (name) => document.getElementById(`viewer-${name}`);
    this.part("previous").addEventListener("click", () => this.go(-1));
    this.part("next").addEventListener("click", () => this.go(1));
    this.part("close").addEventListener("click", () => this.dialog.close());
    this.part("map").addEventListener("change", () => this.show());
    this.dialog.addEventListener("keydown", (event) => {
      // In a slider or a list the arrow keys have their own meaning.
      if (event.target.matches("input, select")) return;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.go(step);
    });
    // The dialog's own box ends at its padding: a click beside it falls on the backdrop.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  open(rows, place) {
    [this.rows, this.place] = [rows, place];
    this.part("map").value = document.getElementById("images-map").value;
    this.show();
    this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  go(by) {
    this.place = Math.min(Math.max(this.place + by, 0), this.rows.length - 1);
    this.show();
  }

  show() {
    const { images, rows, place } = this;
    const row = rows[place];
    this.part("title").textContent = images.classes[images.labels[row]];
    this.part("file").textContent = images.files[row];
    this.part("place").textContent = `${place + 1} of ${rows.length}`;
    this.part("previous").disabled = place === 0;
    this.part("next").disabled = place === rows.length - 1;
    const own = make("figure", "viewer-photo");
    own.append(photograph(images, row));
    this.part("body").replaceChildren(own, ...images.backbones.map((_, k) => this.backbone(k, row)));
  }

  backbone(number, row) {
    const { images } = this;
    const part = make("section");
    part.append(make("h3", "", images.backbones[number]));
    const stages = make("div", "viewer-stages");
    images.stages.forEach(({ title }, stage) => {
      const figure = make("figure");
      const right = images.isRight(number, stage, row);
      const tile = make("div", `tile ${right ? "is-right" : "is-wrong"}`);
      tile.append(layered(images, row, number, stage, this.part("map").value, LARGE_MAP));
      const words = make("p", "answer");
      words.append(answer(images, row, number, stage));
      figure.append(make("figcaption", "", title), tile, words, this.chances(number, stage, row));
      stages.append(figure);
    });
    part.append(stages);
    return part;
  }

  chances(backbone, stage, row) {
    const { images } = this;
    const list = make("ol", "chances");
    for (const [number, chance] of images.likeliest(backbone, stage, row)) {
      const isLabel = number === images.labels[row];
      const item = make("li", isLabel ? "is-label" : "");
      const bar = make("span", "chance");
      bar.style.setProperty("--share", chance);
      item.append(make("span", "", images.classes[number] + (isLabel ? " (true)" : "")), bar, make("span", "", chance.toFixed(3)));
      list.append(item);
    }
    return list;
  }
}
