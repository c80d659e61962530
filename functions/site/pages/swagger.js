const page = document.getElementById("page");
SwaggerUIBundle({
  url: new URL(page.dataset.document, location.href).href,
  domNode: page,
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null, // it would send the document to a foreign host
});
