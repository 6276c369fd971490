// Shows the OpenAPI document of the service that this page is of. With keys, the page asks for one, which
// stays in its memory.
"use strict";

const base = new URL(".", document.baseURI).href;
const form = document.getElementById("key-form");

async function load(key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch(new URL("openapi.json", base), { headers });
  if (response.ok) {
    show(await response.json(), key);
  } else if (response.status === 401) {
    form.hidden = false;
    if (key) complain("This key is not valid.");
  } else {
    complain(`The interface cannot be read: ${response.status} ${response.statusText}`);
  }
}

function show(spec, key) {
  form.hidden = document.getElementById("problem").hidden = true;
  spec.servers = [{ url: base.replace(/\/$/, "") }];
  const page = SwaggerUIBundle({
    spec,
    dom_id: "#operations",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    docExpansion: "list",
    filter: true,
    validatorUrl: null,
    onComplete: () => key && page.preauthorizeApiKey("key", key),
  });
}

function complain(text) {
  const problem = document.getElementById("problem");
  problem.textContent = text;
  problem.hidden = false;
}

function attempt(key) {
  load(key).catch((error) => complain(`The interface cannot be read: ${error.message}`));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(document.getElementById("key").value.trim());
});
attempt("");
