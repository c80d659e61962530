//! Packs what the pages are made of: Swagger UI and ReDoc out of the crates that carry them, our own files out of
//! `pages/`, and the OpenAPI document. A file's name has a part of its hash in it, so that a browser may keep it for
//! ever.

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// What is taken from Swagger UI's `dist/`.
const SWAGGER_UI: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

/// A picture that ReDoc would fetch from elsewhere, and one that it has by itself: nothing.
const FOREIGN_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
const NO_LOGO: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";

/// What a page calls the way from itself to the root of the API; a request fills it in.
const ROOT: &str = "{root}";

/// Files by their names.
type Files = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=pages");
    println!("cargo::rerun-if-changed=openapi.json");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = swagger_ui()?;
    files.push(("redoc.standalone.js".to_owned(), redoc()?.into_bytes()));
    let mut pages = Vec::new();
    for file in fs::read_dir("pages")? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a file's name is no text")?.to_owned();
        let kind = if name.ends_with(".html") { &mut pages } else { &mut files };
        kind.push((name, fs::read(path)?));
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (name, bytes) in &files {
        let packed = out.join(name).with_added_extension("gz");
        fs::write(&packed, pack(bytes)?)?;
        writeln!(table, "    ({:?}, include_bytes!({packed:?})),", hashed(name, bytes))?;
    }
    table.push(']');
    fs::write(out.join("assets.rs"), table)?;
    for (name, bytes) in pages {
        let mut page = String::from_utf8(bytes)?;
        for (asset, bytes) in &files {
            page = page.replace(&format!("{{{asset}}}"), &format!("{ROOT}api/docs/assets/{}", hashed(asset, bytes)));
        }
        fs::write(out.join(name), page)?;
    }
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read("openapi.json")?)?;
    document["servers"][0]["url"] = ROOT.into();
    fs::write(out.join("openapi.json"), document.to_string())?;
    Ok(())
}

/// The files of Swagger UI that its page needs.
fn swagger_ui() -> Result<Files, Box<dyn Error>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at)?;
        let path = file.name()?.into_owned();
        if let Some(name) = SWAGGER_UI.into_iter().find(|name| path.ends_with(&format!("/dist/{name}"))) {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            files.push((name.to_owned(), bytes));
        }
    }
    if files.len() == SWAGGER_UI.len() { Ok(files) } else { Err("Swagger UI has other files than it had".into()) }
}

/// ReDoc, out of the page that it stands in.
fn redoc() -> Result<String, Box<dyn Error>> {
    let page = aide::redoc::Redoc::new("").html();
    let script = page.split_once("<script>").and_then(|(_, rest)| rest.rsplit_once("Redoc.init("));
    let script = script.map(|(script, _)| script.trim()).filter(|script| script.contains(FOREIGN_LOGO));
    Ok(script.ok_or("ReDoc stands in another page than it did")?.replace(FOREIGN_LOGO, NO_LOGO))
}

fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A file's name with eight digits of its hash before the ending.
fn hashed(name: &str, bytes: &[u8]) -> String {
    let hash = hex::encode(&Sha256::digest(bytes)[..4]);
    let path = Path::new(name);
    let part = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).unwrap_or_default().to_owned();
    format!("{}.{hash}.{}", part(path.file_stem()), part(path.extension()))
}
