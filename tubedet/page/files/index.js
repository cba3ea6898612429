// Shows the videos that have all pressed labels and the typed name.

const cards = [...document.querySelectorAll("#videos > li")];
const chips = [...document.querySelectorAll("[data-label]")];
const nameField = document.getElementById("name");

function filterVideos() {
  const wanted = chips
    .filter((chip) => chip.getAttribute("aria-pressed") === "true")
    .map((chip) => chip.dataset.label);
  const name = nameField.value.trim().toLowerCase();
  let shown = 0;
  for (const card of cards) {
    const labels = JSON.parse(card.dataset.labels);
    const fits = wanted.every((label) => labels.includes(label)) &&
      card.dataset.name.toLowerCase().includes(name);
    card.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  document.getElementById("count").textContent =
    shown === cards.length ? "" : `${shown} of ${cards.length} shown`;
}

for (const chip of chips) {
  chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
    filterVideos();
  });
}
nameField.addEventListener("input", filterVideos);
