//! How soon a search of a million orders has its first row, and how fast rows come. It is measured and promises nothing: a
//! machine is as busy as it is.
//!
//! `INTAKE_SEARCH_BENCH=1 cargo test -p intake-tests --test stack -- search_bench`

use super::search::{Query, fill, path_of, plans_have_indexes_and_the_months_of_their_dates, read_on};
use crate::support::{Ground, Shop};
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ORDERS: i32 = 1_000_000;
const CONTACTS: i32 = 20_000;

/// How often each is asked; the median is told.
const ROUNDS: usize = 9;

/// When the first line was there, when the last, how many there were, and how many bytes.
async fn ask(shop: &Shop, query: &Query<'_>) -> Result<(Duration, Duration, usize, usize)> {
    let request = shop.request(Method::GET, &path_of(shop, query)?);
    let since = Instant::now();
    let mut answer = request.send().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let (mut first, mut lines, mut bytes) = (None, 0, 0);
    while let Some(piece) = answer.chunk().await? {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        bytes += piece.len();
        if lines > 0 && first.is_none() {
            first = Some(since.elapsed());
        }
    }
    Ok((first.context("a line")?, since.elapsed(), lines - 1, bytes))
}

pub(super) async fn how_fast_a_million_orders_are_searched(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let (owner_url, api_url) = (&ground.endpoints.owner_database_url, &ground.endpoints.api_database_url);
    fill(owner_url, shop.id, ORDERS, CONTACTS).await?;
    let texts = async |sql: &str| shop.books.texts(sql, &[]).await;
    let product = |number: u32| format!("select md5('product{number}')::uuid::text");
    let (popular, usual) = (texts(&product(0)).await?.remove(0), texts(&product(17)).await?.remove(0));
    let name = texts("select customer_name_snapshot from orders limit 1").await?.remove(0);
    let contact = texts("select contact::text from order_contacts limit 1").await?.remove(0).parse()?;
    plans_have_indexes_and_the_months_of_their_dates(api_url, shop.id, popular.parse()?, contact).await?;

    let rare = name[..4].to_owned();
    let count = async |condition: String| {
        let found = texts(&format!("select count(*)::text from orders where {condition}")).await?;
        anyhow::Ok(found[0].parse::<usize>()?)
    };
    let has = |product: &str| {
        format!(
            "exists (select from order_items where order_items.tenant_id = orders.tenant_id
                and order_items.order_id = orders.order_id and product_id = '{product}')"
        )
    };
    let text =
        |text: &str| format!("(customer_name_snapshot ilike '%{text}%' or customer_email_snapshot ilike '%{text}%')");
    let cases: Vec<(Query<'_>, Option<String>)> = vec![
        (vec![], None),
        (vec![("start_date", "2026-03-01".to_owned()), ("end_date", "2026-03-31".to_owned())], None),
        (vec![("order_status", "refunded,cancelled".to_owned())], None),
        (vec![("min_price", "999".to_owned())], Some("total_amount >= 999".to_owned())),
        (vec![("min_price", "999.98".to_owned())], Some("total_amount >= 999.98".to_owned())),
        (vec![("payload", r#"{"source": "web"}"#.to_owned())], None),
        (vec![("q", name.clone())], Some(text(&name))),
        (vec![("q", "user1234@".to_owned())], Some(text("user1234@"))),
        (vec![("q", rare.clone())], Some(text(&rare))),
        (vec![("q", "user12".to_owned())], Some(text("user12"))),
        (vec![("q", "zq".to_owned())], Some(text("zq"))),
        (vec![("q", "EXAMPLE".to_owned())], None),
        (vec![("product_ids", usual.clone())], Some(has(&usual))),
        (vec![("product_ids", popular.clone())], Some(has(&popular))),
        (
            vec![("product_ids", popular.clone()), ("q", "user7".to_owned()), ("start_date", "2026-02-01".to_owned())],
            None,
        ),
    ];
    println!("{:>10} {:>10} {:>9}", "first", "all", "rows");
    for (query, condition) in &cases {
        let mut asked = Vec::new();
        for _ in 0..ROUNDS {
            asked.push(ask(&shop, query).await?);
        }
        asked.sort_unstable();
        let (first, all, rows, _) = asked[ROUNDS / 2];
        println!("{:>7.1} ms {:>7.1} ms {rows:>9}  {query:?}", milliseconds(first), milliseconds(all));
        if let Some(condition) = condition {
            let found = read_on(&shop, query, 50_000).await?;
            let due = count(condition.clone()).await?;
            ensure!(found.len() == due, "{query:?}: {} are found of {due}", found.len());
        }
    }
    for fields in [None, Some("order_id,total_amount,order_date")] {
        let mut query: Query<'_> = vec![("limit", "100000".to_owned())];
        query.extend(fields.map(|fields| ("fields", fields.to_owned())));
        let mut asked = Vec::new();
        for _ in 0..5 {
            asked.push(ask(&shop, &query).await?);
        }
        let rates: Vec<_> = asked.iter().map(|(_, all, rows, _)| (*rows as f64 / all.as_secs_f64()) as u64).collect();
        println!("rows/s: {rates:?}, {} MB each, {query:?}", asked[0].3 / 1_000_000);
    }
    let since = Instant::now();
    let all = read_on(&shop, &vec![("fields", "order_id".to_owned())], 100_000).await?;
    ensure!(all.len() == ORDERS as usize, "{} orders", all.len());
    println!("all ids in answers of 100,000: {:.1} s", since.elapsed().as_secs_f64());
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
