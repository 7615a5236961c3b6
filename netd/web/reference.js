"use strict";
// Search narrows what is shown; a link opens what it leads to. Without this script the page shows everything.
const search = document.getElementById("search");
const operations = [...document.querySelectorAll("details.operation")].map((element) => ({
  element,
  link: document.querySelector(`nav a[href="#${element.id}"]`).parentElement,
  text: (element.querySelector("summary").textContent + " " + element.querySelector("p").textContent).toLowerCase(),
}));
const schemas = [...document.querySelectorAll("details.schema")].map((element) => ({
  element,
  text: element.querySelector("summary").textContent.toLowerCase(),
}));

function narrow() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (text) => words.every((word) => text.includes(word));
  for (const each of operations) each.element.hidden = each.link.hidden = !fits(each.text);
  for (const each of schemas) each.element.hidden = !fits(each.text);
  for (const section of document.querySelectorAll("main section, nav section:has(li)")) {
    section.hidden = !section.querySelector("details:not([hidden]), li:not([hidden])");
  }
}

function open() {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  if (!found || found.tagName !== "DETAILS") return;
  if (found.hidden) {
    search.value = "";
    narrow();
  }
  found.open = true;
  found.scrollIntoView();
}

search.addEventListener("input", narrow);
window.addEventListener("hashchange", open);
open();
