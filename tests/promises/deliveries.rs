//! SQS and S3 deliver twice, late and out of order: the effect is one.

use crate::support::{
    Dice, File, Goods, Ground, Session, Shop, Upload, at, counts, customer, formats, ndjson, object_created,
};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use intake_aws::messages::{LoadChunk, PromoteFile};
use intake_domain::dataset;
use std::sync::Arc;

const TIMES: usize = 5;

/// Everything that a delivery could change.
async fn everything(shop: &Shop) -> Result<Vec<String>> {
    let sql = "select row_to_json(customers)::text from customers
        union all select (to_jsonb(files) - 'file_id')::text from files
        union all select row_to_json(chunks)::text from chunks
        union all select row_to_json(rejects)::text from rejects
        order by 1";
    shop.books.texts(sql, &[]).await
}

/// Every message that the file's way has seen.
fn messages(shop: &Shop, session: &Session, chunks: i32) -> Result<Vec<(&'static str, &'static str, String)>> {
    let (tenant_id, file_id) = (shop.id, session.file_id(0));
    let mut messages = vec![("uploads", "PlanFile", object_created(shop.id, session.id, file_id)?)];
    for chunk_index in 0..chunks {
        let message = serde_json::to_string(&LoadChunk { tenant_id, file_id, chunk_index })?;
        messages.push(("chunks", "LoadChunk", message));
    }
    messages.push(("promotions", "PromoteFile", serde_json::to_string(&PromoteFile { tenant_id, file_id })?));
    Ok(messages)
}

pub(super) async fn the_same_messages_delivered_five_times_change_nothing(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rows = (0..600).map(|number| if number % 10 == 3 { at(customer(number), "name", 7) } else { customer(number) });
    let file = File::new("customers.ndjson", ndjson(rows));
    let chunks = i32::try_from(file.bytes.len().div_ceil(crate::support::CHUNK_BYTES))?;

    let session = shop.declare(std::slice::from_ref(&file)).await?;
    let messages = messages(&shop, &session, chunks)?;
    shop.upload(&session, &[file]).await?;
    for _ in 0..TIMES {
        for (queue, _, message) in &messages {
            ground.send(queue, message).await?;
        }
    }
    let status = shop.finished(&session).await?;
    assert_eq!(counts(&status), [600, 540, 0, 0, 60]);
    let once = everything(&shop).await?;

    // into the queues, which empty, and to the functions directly, which say that they are done with it
    for (queue, function, message) in messages.iter().rev() {
        ground.send(queue, message).await?;
        for _ in 0..TIMES {
            assert!(ground.deliver(function, message).await?, "{function}: {message}");
        }
    }
    ground.drained().await?;
    assert_eq!(everything(&shop).await?, once);
    assert_eq!(shop.finished(&session).await?, status);
    assert_eq!(ground.dead_letters().await?, 0);
    Ok(())
}

pub(super) async fn messages_may_come_five_times_in_any_order_in_every_format(ground: Arc<Ground>) -> Result<()> {
    let repeated = (0..).zip(formats()).map(async |(seed, format)| {
        let mut dice = Dice::new(seed);
        let datasets = ["customers", "products", "stock_events"].map(dataset::by_name).into_iter().flatten();
        let goods: Vec<_> = datasets.map(|dataset| Goods::by_chance(dataset, format, 60, 40, &mut dice)).collect();
        let upload = Upload::declare(&ground, &goods, false, None, &mut dice).await?;
        upload.put_all().await?;
        // while it goes on, and when all is done
        for _ in 0..TIMES {
            let mut messages = upload.messages().await?;
            dice.shuffle(&mut messages);
            try_join_all(messages.iter().map(|message| ground.send(message.queue, &message.body))).await?;
        }
        upload.ended().await?;
        upload.verify().await?;
        for message in upload.messages().await? {
            assert!(ground.deliver(message.function, &message.body).await?, "{message:?}");
        }
        anyhow::Ok(upload)
    });
    let uploads = try_join_all(repeated).await?;
    ground.drained().await?;
    for (upload, format) in uploads.iter().zip(formats()) {
        upload.verify().await.with_context(|| format!("{format:?}"))?;
    }
    assert_eq!(ground.dead_letters().await?, 0);
    Ok(())
}
