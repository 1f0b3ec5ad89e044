// What the explorer and the large view share: elements, and a picture with a map and an answer.

const make = (tag, className = "", text = "") => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text; // never as HTML: names come from users
  return element;
};

const photograph = (images, row) => {
  const picture = make("img", images.tiny ? "picture tiny" : "picture");
  picture.src = images.photo(row);
  picture.alt = "";
  picture.decoding = "async";
  return picture;
};

// A photograph and the map of one backbone at one stage over it; an empty map is labelled as empty.
const layered = (images, row, backbone, stage, of, size) => {
  const layers = make("span", "layers");
  layers.append(photograph(images, row));
  const map = images.map(backbone, stage, row, of);
  if (map.cells.some((cell) => cell > 0)) {
    const canvas = make("canvas", "heat");
    images.draw(canvas, map, size);
    layers.append(canvas);
  } else {
    layers.append(make("span", "empty", "empty map"));
  }
  if (images.outlines[row]) layers.append(outlined(images, row));
  return layers;
};

// The outline of the object's mask, drawn at the size of the screen over any other layer.
const outlined = (images, row) => {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("class", "outline");
  drawing.setAttribute("viewBox", `0 0 ${images.outlineUnits} ${images.outlineUnits}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  for (let tone = 0; tone < 2; tone += 1) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", images.outlines[row]);
    drawing.append(path);
  }
  return drawing;
};

const verdict = (right) => {
  const sign = make("span", `verdict ${right ? "right" : "wrong"}`);
  const mark = make("span", "", right ? "✓ " : "✗ ");
  mark.setAttribute("aria-hidden", "true");
  sign.append(mark, make("span", "spoken", right ? "correct: " : "wrong: "));
  return sign;
};

const answer = (images, row, backbone, stage) => {
  const line = make("span");
  const name = images.classes[images.predicted(backbone, stage, row)];
  const confidence = images.confidence(backbone, stage, row).toFixed(2);
  line.append(verdict(images.isRight(backbone, stage, row)), `${name} `, make("span", "confidence", confidence));
  return line;
};
