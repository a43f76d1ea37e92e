"use strict";
// Extras only: the page is whole without them. Buttons that copy an example, and the menu that follows the reader.
{
  for (const panel of navigator.clipboard ? document.querySelectorAll(".panel") : []) {
    const code = panel.querySelector("code");
    if (!code) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    panel.querySelector("figcaption").append(button);
  }

  const menu = document.getElementById("menu");
  const links = new Map();
  for (const link of document.querySelectorAll('nav a[href^="#"]')) {
    links.set(link.hash.slice(1), link);
    link.addEventListener("click", () => (menu.checked = false));
  }
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        document.querySelector('nav [aria-current]')?.removeAttribute("aria-current");
        links.get(entry.target.id).setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-15% 0px -80% 0px" },
  );
  for (const id of links.keys()) seen.observe(document.getElementById(id));
}
