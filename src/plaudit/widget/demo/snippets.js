/** Puts a button beside each snippet that copies it. */

import { element, setText } from "./dom.js";

const SAID_MS = 2_000;

for (const snippet of document.querySelectorAll(".snippet")) {
  const button = element("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    const said = await navigator.clipboard.writeText(snippet.querySelector("code")?.textContent ?? "").then(
      () => "Copied", () => "Select it and copy");
    setText(button, said);
    setTimeout(() => setText(button, "Copy"), SAID_MS);
  });
  snippet.append(button);
}
