const page = document.getElementById("page");
const fonts = "system-ui, sans-serif";
Redoc.init(
  new URL(page.dataset.document, location.href).href,
  { theme: { typography: { fontFamily: fonts, headings: { fontFamily: fonts } } } },
  page,
);
