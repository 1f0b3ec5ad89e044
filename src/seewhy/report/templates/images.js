// The test images as the page holds them (see report/sections/images.py): reads them, and draws a map.

// Base64 as bytes; with `wide`, as numbers of two bytes, the lower first.
const unpack = (text, wide = false) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (!wide) return bytes;
  const view = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, k) => view.getUint16(2 * k, true));
};

class TestImages {
  constructor(given) {
    Object.assign(this, given);
    this.count = this.labels.length;
    this.colours = unpack(given.colours);
    this.answers = given.answers.map((stages) =>
      stages.map((one) => ({
        classes: unpack(one.classes, true),
        chances: unpack(one.chances, true),
        own: unpack(one.own, true),
      })),
    );
    this.maps = given.maps.map((stages) => stages.map((one) => this.readMaps(one)));
    this.row = new Map(this.ids.map((id, row) => [id, row]));
  }

  // The true class has a map of its own only where another one was predicted.
  readMaps({ height, width, predicted, labelled, wrong }) {
    const place = new Map(wrong.map((row, k) => [row, k]));
    return { height, width, predicted: unpack(predicted), labelled: unpack(labelled), place };
  }

  predicted(backbone, stage, row) {
    return this.answers[backbone][stage].classes[row * this.chances];
  }

  confidence(backbone, stage, row) {
    return this.answers[backbone][stage].chances[row * this.chances] / 65535;
  }

  // The probability of the image's own class.
  own(backbone, stage, row) {
    return this.answers[backbone][stage].own[row] / 65535;
  }

  isRight(backbone, stage, row) {
    return this.predicted(backbone, stage, row) === this.labels[row];
  }

  // The likeliest classes, [class, probability], the image's own last where it is not among them.
  likeliest(backbone, stage, row) {
    const { classes, chances } = this.answers[backbone][stage];
    const found = Array.from({ length: this.chances }, (_, k) => {
      const place = row * this.chances + k;
      return [classes[place], chances[place] / 65535];
    });
    const label = this.labels[row];
    if (!found.some(([number]) => number === label)) found.push([label, this.own(backbone, stage, row)]);
    return found;
  }

  // The photograph's address; a photograph that the page shows elsewhere is stored there once.
  photo(row) {
    const given = this.photos[row];
    const stored = given.startsWith("photo-") && document.getElementById(given);
    return stored ? stored.getAttribute("href") : `data:image/webp;base64,${given}`;
  }

  // One image's map, {height, width, cells}, of the predicted or of the true class.
  map(backbone, stage, row, of) {
    const { height, width, predicted, labelled, place } = this.maps[backbone][stage];
    const other = of === "labelled" && place.has(row);
    const [from, at] = other ? [labelled, place.get(row)] : [predicted, row];
    return { height, width, cells: from.subarray(at * height * width, (at + 1) * height * width) };
  }

  // Draws a map on a square canvas, which the page stretches over the picture, as seewhy.explanation.overlay.heat does: enlarged bilinearly, scaled by its
  // own maximum, coloured, and covering the more the higher it is.
  draw(canvas, { height, width, cells }, size) {
    canvas.width = canvas.height = size;
    const rows = neighbours(height, size);
    const columns = neighbours(width, size);
    const values = new Float32Array(size * size);
    let peak = 0;
    for (let y = 0; y < size; y += 1) {
      const [above, below, down] = rows[y];
      for (let x = 0; x < size; x += 1) {
        const [left, right, along] = columns[x];
        const high = cells[above * width + left] * (1 - along) + cells[above * width + right] * along;
        const low = cells[below * width + left] * (1 - along) + cells[below * width + right] * along;
        const value = high * (1 - down) + low * down;
        values[y * size + x] = value;
        if (value > peak) peak = value;
      }
    }
    const context = canvas.getContext("2d");
    const picture = context.createImageData(size, size);
    for (let k = 0; k < values.length; k += 1) {
      const value = peak > 0 ? values[k] / peak : 0;
      const shade = 3 * Math.round(value * 255);
      for (let part = 0; part < 3; part += 1) picture.data[4 * k + part] = this.colours[shade + part];
      picture.data[4 * k + 3] = Math.round(Math.min(value / this.opaqueFrom, 1) * 255);
    }
    context.putImageData(picture, 0, 0);
  }
}

// For each of `size` places the two of `count` cells around it and the second's share.
const neighbours = (count, size) =>
  Array.from({ length: size }, (_, k) => {
    const centre = Math.min(Math.max((k + 0.5) * (count / size) - 0.5, 0), count - 1);
    const first = Math.floor(centre);
    return [first, Math.min(first + 1, count - 1), centre - first];
  });
