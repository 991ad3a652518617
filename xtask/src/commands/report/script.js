"use strict";
document.querySelectorAll(".plane").forEach((plane) => {
  const tip = plane.querySelector(".tip");
  let on = null;
  const show = (circle) => {
    if (on) on.classList.remove("on");
    on = circle;
    circle.classList.add("on");
    tip.querySelector("img").src = circle.dataset.picture;
    tip.querySelector("span").textContent = circle.dataset.name;
    tip.hidden = false;
    const box = plane.getBoundingClientRect(), at = circle.getBoundingClientRect();
    const left = at.left - box.left + 12, top = at.top - box.top + 12;
    tip.style.left = Math.max(0, Math.min(left, box.width - 104)) + "px";
    tip.style.top = Math.min(top, box.height - 116) + "px";
  };
  plane.addEventListener("pointerover", (event) => {
    if (event.target.tagName === "circle") show(event.target);
  });
  plane.addEventListener("pointerleave", () => {
    tip.hidden = true;
    if (on) on.classList.remove("on");
    on = null;
  });
});
document.querySelectorAll(".choice").forEach((choice) => {
  const buttons = choice.querySelectorAll("button");
  const circles = choice.parentElement.querySelectorAll(".points circle");
  const along = [...circles].map((circle) => [circle.getAttribute("cx"), circle.getAttribute("cy")]);
  buttons.forEach((button) => button.addEventListener("click", () => {
    buttons.forEach((other) => other.classList.toggle("on", other === button));
    circles.forEach((circle, i) => {
      const [x, y] = button.dataset.by === "tsne" ? circle.dataset.tsne.split(" ") : along[i];
      circle.setAttribute("cx", x);
      circle.setAttribute("cy", y);
    });
  }));
});
