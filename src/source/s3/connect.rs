//! Credentials, endpoint and region: from settings and environment to a client that can read the
//! bucket.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, ProvideCredentials, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::RequestPayer;

use super::Bucket;
use super::explain::{Asked, Explain};
use crate::source::SourceError;

/// To connect: across the world with a lost packet or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// To the first byte of an answer. Bodies are watched by the SDK's stalled-stream protection
/// instead.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that stands still for so long has stalled (the SDK's default, made explicit).
const STALL_GRACE: Duration = Duration::from_secs(20);

/// Enough for single sign-on and credential processes; the chain's own limits fail sooner.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);

/// Asked for the bucket's region where none is configured.
const ANY_REGION: &str = "us-east-1";

/// Tells where a bucket lies, in answers of every status.
const REGION_HEADER: &str = "x-amz-bucket-region";

/// What can be set beside the usual `AWS_…` variables and profiles, which all apply.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// Agree to pay for requests and transfer from buckets whose owners do not.
    pub requester_pays: bool,
    /// Put the bucket's name into the path, not the host name. A custom endpoint always gets that.
    pub force_path_style: bool,
    /// Another endpoint than AWS's, before `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL`.
    pub endpoint_url: Option<String>,
    /// The region to ask first, before `AWS_REGION` and the profile's.
    pub region: Option<String>,
    /// The profile, before `AWS_PROFILE`.
    pub profile: Option<String>,
    /// Credentials instead of the SDK's default chain.
    pub credentials: Option<SharedCredentialsProvider>,
}

pub(super) async fn connect(
    name: &str,
    prefix: &str,
    settings: &S3Settings,
) -> Result<Bucket, SourceError> {
    let config = load(settings).await;
    expect_credentials(&config, settings).await?;
    let region = config
        .region()
        .map_or_else(|| ANY_REGION.to_owned(), ToString::to_string);
    let custom = custom_endpoint(&config);
    let path_style = settings.force_path_style || custom.is_some();
    let mut bucket = Bucket {
        client: client(&config, &region, path_style),
        name: name.to_owned(),
        prefix: prefix.to_owned(),
        payer: settings.requester_pays.then_some(RequestPayer::Requester),
        endpoint: custom.clone().unwrap_or_else(|| amazon(&region)),
        region,
    };
    if let Some(home) = home_region(&bucket)
        .await?
        .filter(|home| *home != bucket.region)
    {
        tracing::debug!(
            bucket = name,
            region = home,
            "the bucket lies in another region than was asked"
        );
        bucket.client = client(&config, &home, path_style);
        bucket.endpoint = custom.unwrap_or_else(|| amazon(&home));
        bucket.region = home;
    }
    Ok(bucket)
}

/// What the SDK is told wherever it is used here: timeouts, region, credentials.
pub(crate) async fn load(settings: &S3Settings) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build();
    let mut profile_region = ProfileFileRegionProvider::builder();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(STALL_GRACE)
                .build(),
        );
    if let Some(profile) = &settings.profile {
        profile_region = profile_region.profile_name(profile);
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint_url) = &settings.endpoint_url {
        loader = loader.endpoint_url(endpoint_url);
    }
    if let Some(credentials) = &settings.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    // Not the metadata service, which the default chain asks last: it costs a second where there is
    // none, and the bucket's own region is asked for anyway.
    let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile_region.build())
        .or_else(Region::from_static(ANY_REGION));
    loader.region(region).load().await
}

/// Asks the chain once before any request: a request would wrap the answer into something that
/// nobody understands.
pub(in crate::source) async fn expect_credentials(
    config: &SdkConfig,
    settings: &S3Settings,
) -> Result<(), SourceError> {
    let none = |message: String| {
        let profile = settings
            .profile
            .clone()
            .or_else(|| std::env::var("AWS_PROFILE").ok())
            .filter(|name| !name.is_empty());
        Err(SourceError::NoCredentials { profile, message })
    };
    let Some(provider) = config.credentials_provider() else {
        return none("none are configured".to_owned());
    };
    match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            let message = super::explain::chain(&error);
            // The chain goes on to tell of every place where it looked, in a screenful.
            let told = message
                .split_once(". Attempted: ")
                .map(|(told, _)| told.to_owned());
            none(told.unwrap_or(message))
        }
        Err(_) => none(format!("no answer in {} s", CREDENTIALS_TIMEOUT.as_secs())),
    }
}

fn client(config: &SdkConfig, region: &str, path_style: bool) -> Client {
    Client::from_conf(
        Builder::from(config)
            .region(Region::new(region.to_owned()))
            .force_path_style(path_style)
            .build(),
    )
}

/// The endpoint that is configured, if one is. The SDK reads the variable for S3 alone by itself,
/// and does not say so.
fn custom_endpoint(config: &SdkConfig) -> Option<String> {
    let for_s3 = || {
        std::env::var("AWS_ENDPOINT_URL_S3")
            .ok()
            .filter(|url| !url.is_empty())
    };
    config.endpoint_url().map(str::to_owned).or_else(for_s3)
}

fn amazon(region: &str) -> String {
    format!("s3.{region}.amazonaws.com")
}

/// The region that the bucket lies in, where S3 tells: it does so also to those who may not list or
/// have asked the wrong region.
async fn home_region(bucket: &Bucket) -> Result<Option<String>, SourceError> {
    let error = match bucket
        .client
        .head_bucket()
        .bucket(&bucket.name)
        .send()
        .await
    {
        Ok(found) => return Ok(found.bucket_region().map(str::to_owned)),
        Err(error) => error,
    };
    let Some(answer) = error.raw_response() else {
        return Err(bucket.explain(error, Asked::Bucket));
    };
    match answer.status().as_u16() {
        404 => Err(bucket.explain(error, Asked::Bucket)),
        // Without a region header the listing that follows says what is wrong: an answer to HEAD
        // has no body to say it in.
        status if status < 500 => Ok(answer.headers().get(REGION_HEADER).map(str::to_owned)),
        _ => {
            tracing::debug!(error = %DisplayErrorContext(&error), "cannot ask for the bucket's region");
            Err(bucket.explain(error, Asked::Bucket))
        }
    }
}
