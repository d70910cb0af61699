//! Who asks, and where: credentials, roles, regions and the clients that come of them.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{
    Builder, Credentials, ProvideCredentials, Region, SharedCredentialsProvider,
};
use futures::{FutureExt, StreamExt, stream};

use super::error::{ASSUME_ROLE, deepest_causes};
use super::{Ec2Error, Ec2Settings, Failure, Gap};

/// To connect: across the world with a lost packet or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// To the first byte of an answer; EC2 thinks for a while about a thousand interfaces.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Enough for single sign-on and credential processes; the chain's own limits fail sooner.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests beyond a token bucket are refused, and a bucket refills within seconds: the SDK waits 1 s, 2 s, 4 s … at
/// random, and this many attempts outlast a bucket that others empty too.
const ATTEMPTS: u32 = 8;

/// What CloudTrail shows as the session of an assumed role.
const SESSION_NAME: &str = "flowscout";

/// Roles that are assumed at the same time.
const ROLES_AT_A_TIME: usize = 8;

/// One account in one region.
#[derive(Debug)]
pub(super) struct Asker {
    /// `None` where credentials do not tell.
    pub(super) account_id: Option<String>,
    pub(super) region: String,
    pub(super) client: Client,
}

impl Asker {
    /// As gaps name it.
    pub(super) fn name(&self) -> String {
        match &self.account_id {
            Some(account_id) => format!("account {account_id} in {}", self.region),
            None => self.region.clone(),
        }
    }
}

/// Everyone who asks, and the roles that could not be assumed.
pub(super) async fn askers(settings: &Ec2Settings) -> Result<(Vec<Asker>, Vec<Gap>), Ec2Error> {
    let config = load(settings).await;
    let own = own_credentials(&config).await?;
    let regions = match settings.regions.as_slice() {
        [] => vec![config.region().ok_or(Ec2Error::NoRegion)?.to_string()],
        named => without_repeats(named),
    };
    let mut gaps = Vec::new();
    let mut logins = Vec::new();
    if settings.role_arns.is_empty() {
        logins.push(own);
    } else {
        let roles = without_repeats(&settings.role_arns);
        let assume = |role_arn| assume(role_arn, &config, &own, settings).boxed();
        let mut assuming = stream::iter(roles).map(assume).buffered(ROLES_AT_A_TIME);
        while let Some(assumed) = assuming.next().await {
            match assumed {
                Ok(login) => logins.push(login),
                Err(gap) => gaps.push(gap),
            }
        }
    }
    let askers = logins.iter().flat_map(|credentials| {
        regions
            .iter()
            .map(|region| asker(credentials, region, &config, settings))
    });
    Ok((askers.collect(), gaps))
}

/// The region of the first client and of STS is the configured one, else the first that was named. The metadata service is
/// asked only where nothing is named: it costs a second where there is none.
async fn load(settings: &Ec2Settings) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
    if let Some(first) = settings.regions.first() {
        let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::new(first.clone()));
        loader = loader.region(region);
    }
    loader.load().await
}

/// Asks the chain once, before any request: a request would wrap the answer into something that nobody understands. A sync
/// takes less time than credentials last.
async fn own_credentials(config: &SdkConfig) -> Result<Credentials, Ec2Error> {
    let none = |message: String| {
        let profile = std::env::var("AWS_PROFILE").ok();
        Ec2Error::NoCredentials {
            profile: profile.filter(|name| !name.is_empty()),
            message,
        }
    };
    let provider = config
        .credentials_provider()
        .ok_or_else(|| none("none are configured".to_owned()))?;
    match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => Ok(credentials),
        Ok(Err(error)) => {
            let message = deepest_causes(&error);
            // The chain goes on to tell of every place where it looked, in a screenful.
            let told = message.split_once(". Attempted: ");
            Err(none(
                told.map_or(message.clone(), |(told, _)| told.to_owned()),
            ))
        }
        Err(_) => Err(none(format!(
            "no answer in {} s",
            CREDENTIALS_TIMEOUT.as_secs()
        ))),
    }
}

async fn assume(
    role_arn: String,
    config: &SdkConfig,
    own: &Credentials,
    settings: &Ec2Settings,
) -> Result<Credentials, Gap> {
    let mut role = AssumeRoleProvider::builder(&role_arn)
        .session_name(SESSION_NAME)
        .configure(&with_retries(config));
    if let Some(external_id) = &settings.external_id {
        role = role.external_id(external_id);
    }
    let provider = role.build_from_provider(own.clone()).await;
    provider.provide_credentials().await.map_err(|error| Gap {
        whose: format!("role `{role_arn}`"),
        what: ASSUME_ROLE.to_owned(),
        failure: Failure::within(&error),
    })
}

fn asker(
    credentials: &Credentials,
    region: &str,
    config: &SdkConfig,
    settings: &Ec2Settings,
) -> Asker {
    let account_id = credentials
        .account_id()
        .map(|account_id| account_id.as_str().to_owned());
    let who = account_id.as_deref().unwrap_or(SESSION_NAME);
    let mut builder = Builder::from(&with_retries(config))
        .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
        .region(Region::new(region.to_owned()))
        // One place that throttles must not spend the attempts of the others.
        .retry_partition(RetryPartition::new(format!("ec2-{who}-{region}")));
    if let Some(endpoint_url) = &settings.endpoint_url {
        builder = builder.endpoint_url(endpoint_url);
    }
    Asker {
        account_id,
        region: region.to_owned(),
        client: Client::from_conf(builder.build()),
    }
}

/// More attempts than the SDK's default, unless `AWS_MAX_ATTEMPTS` or the profile says otherwise.
fn with_retries(config: &SdkConfig) -> SdkConfig {
    let default = RetryConfig::standard();
    let retries = config
        .retry_config()
        .cloned()
        .unwrap_or_else(|| default.clone());
    let is_default = retries.max_attempts() == default.max_attempts();
    let attempts = if is_default {
        ATTEMPTS
    } else {
        retries.max_attempts()
    };
    config
        .to_builder()
        .retry_config(retries.with_max_attempts(attempts))
        .build()
}

fn without_repeats(texts: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for text in texts {
        if !once.contains(text) {
            once.push(text.clone());
        }
    }
    once
}
