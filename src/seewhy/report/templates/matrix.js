// Confusion matrices: each number that is not zero is a button that shows its images.

// A matrix is one stop of the Tab key; inside it the arrow keys go from number to number.
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

const openMatrix = (table, explorer) => {
  const { backbone, stage } = table.dataset;
  const grid = [...table.tBodies[0].rows].map((line) => [...line.querySelectorAll("td")]);
  const buttons = [];
  grid.forEach((cells, label) =>
    cells.forEach((cell, taken) => {
      if (cell.classList.contains("zero")) return;
      const button = make("button", "", cell.textContent);
      button.type = "button";
      button.tabIndex = buttons.length ? -1 : 0;
      button.title = cell.title;
      button.setAttribute("aria-label", `${cell.textContent}: ${cell.title}`);
      button.addEventListener("click", () => explorer.open({ backbone, stage, label, taken }, button));
      cell.replaceChildren(button);
      buttons.push(button);
    }),
  );
  table.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    const from = event.target.closest("td");
    if (!move || !from) return;
    event.preventDefault();
    let row = grid.findIndex((cells) => cells.includes(from));
    let column = grid[row].indexOf(from);
    let next = null;
    // Zeros are passed over.
    while (!next) {
      row += move[0];
      column += move[1];
      if (!grid[row]?.[column]) return;
      next = grid[row][column].querySelector("button");
    }
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  });
};
