//! The document of the API as it is served, and its pages.

use crate::support::{Answer, Ground, Shop, event};
use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Each page, and how far below the root of the API it is without a slash at its end.
const PAGES: [(&str, usize); 4] = [("/admin", 0), ("/api/docs", 1), ("/api/schema/swagger-ui", 2), ("/api/redoc", 1)];

async fn get(ground: &Ground, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let url = format!("{}{path}", ground.endpoints.api_url);
    let request = ground.http.get(url);
    Answer::to(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

fn committed() -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/site/openapi.json");
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// What a page, or a style sheet, fetches.
fn references(text: &str) -> Vec<&str> {
    let after = |mark: &'static str| text.split(mark).skip(1).filter_map(|rest| rest.split('"').next());
    ["src=\"", "href=\"", "data-document=\""].into_iter().flat_map(after).collect()
}

pub(super) async fn the_served_document_is_the_committed_one(ground: Arc<Ground>) -> Result<()> {
    for (path, root) in [("/api/schema", ".."), ("/api/schema/", "../..")] {
        let mut served = get(&ground, path, &[]).await?.json(200)?;
        // relative, so that it holds behind a stage, too
        assert_eq!(served["servers"][0]["url"].take(), root, "{path}");
        let mut committed = committed()?;
        committed["servers"][0]["url"] = Value::Null;
        assert!(served == committed, "{path} is another document");
    }
    Ok(())
}

pub(super) async fn every_method_that_a_path_does_not_take_is_405(ground: Arc<Ground>) -> Result<()> {
    let document = committed()?;
    let shop = Shop::open(&ground).await?;
    for (path, item) in document["paths"].as_object().context("paths")? {
        let path =
            path.replace("{upload_token}", &shop.id.to_string()).replace("{file_id}", "x").replace("{name}", "x");
        let described = |method: &Method| item.get(method.as_str().to_lowercase()).is_some();
        let takes_head = described(&Method::GET);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE] {
            if described(&method) {
                continue;
            }
            let answer = Answer::to(shop.request(method.clone(), &path)).await?;
            let problem = answer.json(405).with_context(|| format!("{method} {path}"))?;
            assert_eq!(problem["code"], "METHOD_NOT_ALLOWED", "{method} {path}");
            let allowed = answer.header("allow").context("Allow")?;
            ensure!(method == Method::TRACE || !allowed.contains(method.as_str()), "{method} {path}: {allowed}");
        }
        let head = Answer::to(shop.request(Method::HEAD, &path)).await?;
        assert_eq!(head.status == 405, !takes_head, "HEAD {path}");
    }
    Ok(())
}

pub(super) async fn pages_need_nobody_else(ground: Arc<Ground>) -> Result<()> {
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for (page, depth) in PAGES.into_iter().chain([("", 0)]) {
        for slash in ["", "/"] {
            let path = if page.is_empty() { "/".to_owned() } else { format!("{page}{slash}") };
            let answer = get(&ground, &path, &browser).await?;
            ensure!(answer.status == 200, "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
            let policy = answer.header("content-security-policy").context("a policy")?;
            let others = policy.matches("://").count();
            // the console uploads to the bucket
            assert_eq!((others, policy.contains('*')), (usize::from(page == "/admin"), false), "{path}: {policy}");
            ensure!(others == 0 || policy.contains("; connect-src 'self' http"), "{path}: {policy}");
            let up = "../".repeat(if page.is_empty() { 0 } else { depth + usize::from(slash == "/") });
            let references = references(&answer.text);
            ensure!(references.len() >= 3, "{path} is made of {references:?}");
            for reference in references {
                let rest = reference.strip_prefix(&up).with_context(|| format!("{path}: {reference}"))?;
                ensure!(!rest.starts_with('.') && !rest.contains(':'), "{path}: {reference}");
                let found = get(&ground, &format!("/{rest}"), &[]).await?;
                ensure!(found.status == 200, "{path}: {reference}: {}", found.status);
            }
        }
    }
    let program = get(&ground, "/", &[]).await?.json(200)?;
    assert_eq!(program["schema"], "api/schema/");
    assert_eq!(get(&ground, "/api/docs/assets/none.js", &[]).await?.json(404)?["code"], "NOT_FOUND");
    Ok(())
}

pub(super) async fn assets_are_packed_and_kept(ground: Arc<Ground>) -> Result<()> {
    let page = get(&ground, "/api/redoc/", &[]).await?.text;
    let scripts = references(&page).into_iter().filter(|reference| reference.ends_with(".js"));
    for script in scripts {
        let path = script.trim_start_matches("..").replace("/..", "");
        let plain = get(&ground, &path, &[]).await?;
        assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"), "{path}");
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        ensure!(!plain.text.contains("cdn.redoc"), "{path} would ask somebody else");
        let tag = plain.header("etag").context("a tag")?;
        let again = get(&ground, &path, &[("if-none-match", tag)]).await?;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        let url = format!("{}{path}", ground.endpoints.api_url);
        let packed = ground.http.get(url).header("accept-encoding", "br, gzip;q=0.8").send().await?;
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!(packed.headers()["etag"], tag, "{path}");
        let (packed, mut unpacked) = (packed.bytes().await?, String::new());
        GzDecoder::new(packed.as_ref()).read_to_string(&mut unpacked)?;
        ensure!(unpacked == plain.text, "{path} is another file when it is packed");
    }
    Ok(())
}

pub(super) async fn a_page_behind_a_stage_finds_its_parts(ground: Arc<Ground>) -> Result<()> {
    let answer = ground.invoke("Site", &event("site.docs")?).await?;
    assert_eq!(answer["statusCode"], 200);
    let page = answer["body"].as_str().context("a page")?;
    ensure!(page.contains("\"../../api/schema/\""), "{page}");
    // the stage without its slash
    let mut event = event("site.docs")?;
    event["path"] = json!("/");
    event["requestContext"]["path"] = json!("/live");
    let answer = ground.invoke("Site", &event).await?;
    let page = answer["body"].as_str().context("a page")?;
    ensure!(page.contains("\"live/api/docs/\""), "{page}");
    Ok(())
}
