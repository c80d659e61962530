//! A deployment in AWS, by the name of its stack: `--stack NAME` lets every command act on it instead of the local stack.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context, bail};
use aws_sdk_cloudformation::error::{DisplayErrorContext, ProvideErrorMetadata};
use intake_aws::{SdkConfig, Secret};
use intake_local::QUEUES;
use url::Url;

/// The one that the command line names, for as long as the command runs.
static NAMED: OnceLock<Deployment> = OnceLock::new();

/// A deployed stack.
#[derive(Debug)]
pub struct Deployment {
    name: String,
    config: SdkConfig,
    outputs: BTreeMap<String, String>,
}

/// Finds the stack of that name with AWS's own configuration, and lets all that is asked for afterwards be its.
pub async fn name(stack: &str) -> anyhow::Result<()> {
    let deployment = Deployment::find(intake_aws::load().await, stack).await?;
    NAMED.set(deployment).ok().context("a command acts on one stack")
}

/// The stack that the command line named, if it did.
pub fn named() -> Option<&'static Deployment> {
    NAMED.get()
}

impl Deployment {
    /// Asks CloudFormation for it.
    pub async fn find(config: SdkConfig, name: &str) -> anyhow::Result<Self> {
        if config.region().is_none() {
            bail!("in which region is the stack {name}? set AWS_REGION, or AWS_PROFILE to a profile that has one");
        }
        let found = aws_sdk_cloudformation::Client::new(&config).describe_stacks().stack_name(name).send().await;
        let found = found.map_err(|error| match error.message() {
            Some(message) => anyhow::anyhow!("the stack {name}: {message}"),
            None => anyhow::anyhow!("the stack {name}: {}", DisplayErrorContext(&error)),
        })?;
        let stack = found.stacks().first().with_context(|| format!("there is no stack {name}"))?;
        let outputs = stack.outputs().iter();
        let outputs = outputs.filter_map(|output| Some((output.output_key()?.into(), output.output_value()?.into())));
        Ok(Self { name: name.to_owned(), outputs: outputs.collect(), config })
    }

    /// AWS's configuration.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// An output of the stack.
    pub fn output(&self, output: &str) -> anyhow::Result<&str> {
        let found = self.outputs.get(output).map(String::as_str);
        found.with_context(|| format!("the stack {} has no output {output}: is it one of Intake's?", self.name))
    }

    /// The URLs of its queues, by name.
    pub fn queues(&self) -> anyhow::Result<BTreeMap<String, String>> {
        QUEUES.iter().map(|(queue, name)| Ok(((*queue).to_owned(), self.output(name)?.to_owned()))).collect()
    }

    /// The owner's address of the database, with the password of this moment. The database answers inside of its network
    /// alone: `infra/README.md` says how to get there.
    pub async fn database_url(&self) -> anyhow::Result<String> {
        let Some(url) = self.outputs.get("OwnerDatabaseUrl") else {
            bail!("the stack {} did not make its database: give --database-url or INTAKE_DATABASE_URL", self.name);
        };
        let login = Secret::new(&self.config, self.output("OwnerSecretArn")?).login().await?;
        let mut url = Url::parse(url).context("the output OwnerDatabaseUrl")?;
        let set = url.set_username(&login.username).and_then(|()| url.set_password(Some(&login.password)));
        set.ok().context("the output OwnerDatabaseUrl names no host")?;
        Ok(url.into())
    }
}
