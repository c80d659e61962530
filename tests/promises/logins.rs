//! How functions log in to the database in the cloud, where passwords are rotated and the way is encrypted; and what a
//! deployment hears of the migrations.

use crate::support::{Ground, Scratch, event};
use anyhow::{Context, Result, ensure};
use aws_sdk_s3::presigning::PresigningConfig;
use intake_aws::IamTokens;
use intake_lambda::database::DatabaseAddress;
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::sleep;
use uuid::Uuid;

/// How long anybody may take to log in again on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn a_password_that_is_rotated_under_load_is_survived(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let superuser = scratch.superuser().await?;
    let role = format!("rotated_{}", Uuid::now_v7().simple());
    superuser.batch_execute(&format!("create role {role} login password 'first' in role intake_api")).await?;
    let secrets = aws_sdk_secretsmanager::Client::new(&ground.aws);
    let told = |password: &str| json!({ "username": role, "password": password }).to_string();
    let secret = secrets.create_secret().name(&role).secret_string(told("first")).send().await?;
    let secret = secret.arn().context("an ARN")?.to_owned();
    let (_, server) = scratch.owner_url.split_once('@').context("a URL")?;
    let address = DatabaseAddress::new(&format!("postgres://{server}"), &secret);

    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let work = async |worker: usize| {
        let database = address.open(&ground.aws, &format!("worker {worker}"))?;
        while !is_over.load(Ordering::Relaxed) {
            database.query("load", "select pg_sleep(0.002)", &[]).await?;
            answered.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let rotate = async {
        for round in 0..6 {
            let password = format!("password {round}");
            // the server knows it first, and for a while nobody else
            superuser.batch_execute(&format!("alter role {role} password '{password}'")).await?;
            superuser
                .execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1", &[&role])
                .await?;
            sleep(Duration::from_millis(400)).await;
            secrets.put_secret_value().secret_id(&secret).secret_string(told(&password)).send().await?;
            let (before, since) = (answered.load(Ordering::Relaxed), Instant::now());
            while answered.load(Ordering::Relaxed) == before {
                ensure!(since.elapsed() < PATIENCE, "nobody works with {password}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        Ok(())
    };
    tokio::try_join!(rotate, work(0), work(1), work(2), work(3))?;
    let stale = format!("postgres://{role}:first@{server}");
    let refused = intake_postgres::connect(&stale).await.err().context("the first password has been rotated away")?;
    ensure!(refused.sql_state_code() == Some("28P01"), "{refused}");
    Ok(())
}

/// As PyPI's botocore makes one, for the credentials and the region that the stack's clients have.
const TOKEN: &str = "\
import botocore.session, sys
session = botocore.session.Session()
session.set_credentials('test', 'test')
client = session.create_client('rds', region_name='us-east-1')
print(client.generate_db_auth_token('db.example.com', 5432, 'intake_api'))";

pub(super) async fn a_token_is_what_amazons_own_client_makes(ground: Arc<Ground>) -> Result<()> {
    let made = Command::new(ground.python()).args(["-c", TOKEN]).output().await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let expected = String::from_utf8(made.stdout)?.trim().to_owned();
    let (_, date) = expected.split_once("X-Amz-Date=").context("a date")?;
    let at: jiff::civil::DateTime = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", &date[..16])?.to_datetime()?;
    let at = at.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp();
    let tokens = IamTokens::new(&ground.aws, "db.example.com", 5432, "intake_api");
    let token = tokens.token(at.into()).await?;
    let parts = |token: &str| {
        let (address, query) = token.split_once('?').unwrap_or_default();
        let mut parts: Vec<_> = query.split('&').map(str::to_owned).collect();
        parts.sort();
        (address.to_owned(), parts)
    };
    assert_eq!(parts(&token), parts(&expected));
    Ok(())
}

pub(super) async fn an_encrypted_way_is_taken_and_proven(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let superuser = scratch.superuser().await?;
    let url = format!("{}?sslmode=require", scratch.api_url.replace("127.0.0.1", "localhost"));
    let refused = intake_postgres::connect(&url).await.err().context("the server encrypts nothing")?;
    ensure!(format!("{:#}", anyhow::Error::from(refused)).contains("TLS"), "the reason is named");

    let authority = KeyPair::generate()?;
    let mut parameters = CertificateParams::new([])?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = parameters.self_signed(&authority)?;
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(parameters, authority);
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let file = ground.logs().with_file_name("tmp").join("root.pem");
    std::fs::write(&file, root.pem())?;
    // written by the server itself, whose files they are
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let lines = text.lines().map(|line| format!("('{line}')")).collect::<Vec<_>>().join(", ");
        let write =
            format!("copy (select line from (values {lines}) as lines (line)) to program 'umask 077 && cat > {name}'");
        superuser.batch_execute(&write).await?;
    }
    for sql in ["alter system set ssl = on", "select pg_reload_conf()"] {
        superuser.batch_execute(sql).await?;
    }
    let probe = async |root: Option<&std::path::Path>, url: &str| {
        let mut probe = Command::new(std::env::current_exe()?);
        probe.env("INTAKE_TESTS_CONNECT", url).env_remove("SSL_CERT_FILE");
        if let Some(root) = root {
            probe.env("SSL_CERT_FILE", root);
        }
        let done = probe.output().await?;
        let said = if done.status.success() { done.stdout } else { done.stderr };
        anyhow::Ok((done.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
    };
    let mut proven = (false, String::new());
    for _ in 0..50 {
        // the server reads its settings when it comes to it
        proven = probe(Some(&file), &url).await?;
        if proven.0 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(proven, (true, "encrypted: true".to_owned()));
    let (is_connected, said) = probe(None, &url).await?;
    ensure!(!is_connected && said.contains("certificate"), "a root that nobody trusts: {said}");
    let other_name = url.replace("localhost", "127.0.0.1");
    let (is_connected, said) = probe(Some(&file), &other_name).await?;
    ensure!(!is_connected && said.contains("certificate"), "a host of another name: {said}");
    assert_eq!(probe(None, &scratch.api_url).await?, (true, "encrypted: false".to_owned()));
    for sql in ["alter system reset ssl", "select pg_reload_conf()"] {
        superuser.batch_execute(sql).await?;
    }
    Ok(())
}

pub(super) async fn a_deployment_is_told_how_its_migrations_went(ground: Arc<Ground>) -> Result<()> {
    let bucket = &ground.endpoints.bucket;
    let answer = async |request: &str| {
        let key = format!("answers/{}", Uuid::now_v7());
        let signed = PresigningConfig::expires_in(Duration::from_secs(60))?;
        let url = ground.s3.put_object().bucket(bucket).key(&key).presigned(signed).await?;
        let mut event = event("migrate.custom-resource")?;
        event["RequestType"] = request.into();
        event["ResponseURL"] = url.uri().into();
        ground.invoke("Migrate", &event).await?;
        let object = ground.s3.get_object().bucket(bucket).key(&key).send().await.context("an answer")?;
        anyhow::Ok(serde_json::from_slice::<Value>(&object.body.collect().await?.into_bytes())?)
    };
    let sample = event("migrate.custom-resource")?;
    for request in ["Create", "Update", "Delete"] {
        let answer = answer(request).await?;
        ensure!(answer["Status"] == "SUCCESS" && answer["PhysicalResourceId"] == "schema", "{answer}");
        for name in ["StackId", "RequestId", "LogicalResourceId"] {
            ensure!(answer[name] == sample[name] && answer[name].is_string(), "{answer}");
        }
    }
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let flip = "update schema_migrations set sha256 = set_byte(sha256, 0, 255 - get_byte(sha256, 0)) where name = '0001_tenants'";
    owner.batch_execute(flip).await?;
    let failed = answer("Update").await;
    owner.batch_execute(flip).await?;
    let failed = failed?;
    let reason = failed["Reason"].as_str().context("a reason")?;
    ensure!(failed["Status"] == "FAILED" && reason.contains("0001_tenants"), "{failed}");
    Ok(())
}
