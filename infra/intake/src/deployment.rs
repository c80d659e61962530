//! A deployment in AWS, by the name of its stack: `--stack NAME` lets every command act on it instead of the local stack.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use intake_aws::{SdkConfig, Secret, presign_get};
use intake_local::QUEUES;
use roxmltree::{Document, Node};
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
        let outputs = describe(&config, name).await.with_context(|| format!("the stack {name}"))?;
        Ok(Self { name: name.to_owned(), outputs, config })
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

/// The outputs of a stack, by `DescribeStacks`. One signed GET: the SDK crate of CloudFormation takes longer to compile than
/// this whole command.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>
async fn describe(config: &SdkConfig, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let region = config.region().context("no region: set AWS_REGION, or AWS_PROFILE to a profile with a region")?;
    let endpoint = config.endpoint_url().map_or_else(|| service_url(region.as_ref()), str::to_owned);
    let query = [("Action", "DescribeStacks"), ("StackName", name), ("Version", "2010-05-15")];
    let url = Url::parse_with_params(&endpoint, query).context("the address of CloudFormation")?;
    let url = presign_get(config, "cloudformation", url, SIGNATURE_LIFETIME, SystemTime::now()).await?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let answer = client.get(url).send().await.map_err(reqwest::Error::without_url).context("ask CloudFormation")?;
    let status = answer.status();
    let body = answer.text().await.map_err(reqwest::Error::without_url).context("ask CloudFormation")?;
    if !status.is_success() {
        bail!("{}", error_message(&body).unwrap_or_else(|| format!("CloudFormation answered {status}")));
    }
    outputs(&body)
}

/// A signature is used at once; this much covers a slow start of the connection.
const SIGNATURE_LIFETIME: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(30);

/// <https://docs.aws.amazon.com/general/latest/gr/cfn.html>
fn service_url(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://cloudformation.{region}.{suffix}/")
}

/// The outputs in a `DescribeStacksResponse`: `member` elements with an `OutputKey` and an `OutputValue`.
fn outputs(xml: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let document = Document::parse(xml).context("the answer of CloudFormation is not XML")?;
    let lists = document.descendants().filter(|node| node.tag_name().name() == "Outputs");
    let members = lists.flat_map(|list| list.children());
    Ok(members.filter_map(|member| Some((text(member, "OutputKey")?, text(member, "OutputValue")?))).collect())
}

/// The `Message` of an `ErrorResponse`.
fn error_message(xml: &str) -> Option<String> {
    let document = Document::parse(xml).ok()?;
    document.descendants().find_map(|node| text(node, "Message"))
}

/// The text of a child element.
fn text(node: Node<'_, '_>, child: &str) -> Option<String> {
    let child = node.children().find(|element| element.tag_name().name() == child)?;
    Some(child.text().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
      <DescribeStacksResult><Stacks><member><StackName>intake</StackName>
        <Outputs>
          <member><OutputKey>ApiUrl</OutputKey><OutputValue>https://a.example/?b=1&amp;c=2</OutputValue></member>
          <member><OutputKey>Empty</OutputKey><OutputValue/><Description>nothing</Description></member>
        </Outputs>
        <Tags><member><Key>OutputKey</Key><Value>no output</Value></member></Tags>
      </member></Stacks></DescribeStacksResult>
    </DescribeStacksResponse>"#;
    const ERROR: &str = r#"<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
      <Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id none does not exist</Message></Error>
    </ErrorResponse>"#;

    #[test]
    fn outputs_are_read_from_the_answer() {
        let wanted = [("ApiUrl", "https://a.example/?b=1&c=2"), ("Empty", "")];
        let wanted = wanted.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(outputs(ANSWER).unwrap(), BTreeMap::from(wanted));
        assert!(outputs("{}").is_err());
    }

    #[test]
    fn the_message_of_an_error_is_read() {
        assert_eq!(error_message(ERROR).as_deref(), Some("Stack with id none does not exist"));
        assert_eq!(error_message("<html>"), None);
    }
}
