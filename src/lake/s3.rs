//! The store of a lake in a bucket: credentials, endpoint and region as the SDK finds them, conditional writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{ProvideCredentials, Region, SharedCredentialsProvider};
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut, resolve_bucket_region,
};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, RetryConfig};

use super::LakeError;
use crate::source::S3Settings;

/// To connect: across the world with a lost packet or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For what brings more than a little: four parts of 8 MiB at a time over a line of 2 Mbit/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// So much is on its way at once, or nearly.
const LITTLE_BYTES: usize = 256 << 10;

/// Enough for single sign-on and credential processes; the chain's own limits fail sooner.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);

/// Where no region is configured and the bucket's own cannot be found out.
const ANY_REGION: &str = "us-east-1";

/// How long to go on when the store does not answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// While looking whether there is anything at all: a typing error should show within seconds.
    Short,
    /// While working: rather wait than lose what has been done.
    Long,
}

impl Patience {
    /// For one answer to its end. One that breaks off is taken up again where it did, so that a large object may take longer.
    fn answer_timeout(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(10),
            Self::Long => Duration::from_secs(30),
        }
    }

    fn retries(self) -> RetryConfig {
        // Time enough to ask again after one request was never answered; a signature is good for 5 minutes at least.
        let (max_retries, timeout_secs) = match self {
            Self::Short => (2, 15),
            Self::Long => (10, 280),
        };
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(15),
                base: 2.0,
            },
            max_retries,
            retry_timeout: Duration::from_secs(timeout_secs),
        }
    }
}

/// What the environment says about S3; found once, used for every store.
#[derive(Debug)]
pub(super) struct Surroundings {
    bucket: String,
    region: String,
    endpoint: Option<String>,
    credentials: Arc<Credentials>,
}

impl Surroundings {
    pub(super) async fn find(
        uri: &str,
        bucket: &str,
        settings: &S3Settings,
    ) -> Result<Self, LakeError> {
        let config = load(settings).await;
        let no_credentials = |message: String| LakeError::NoCredentials {
            uri: uri.to_owned(),
            message,
        };
        let provider = config
            .credentials_provider()
            .ok_or_else(|| no_credentials("none are configured".to_owned()))?;
        // Asked once before any request: a request would wrap the answer into something that nobody understands.
        match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(no_credentials(chain(&error))),
            Err(_) => {
                return Err(no_credentials(format!(
                    "no answer in {} s",
                    CREDENTIALS_TIMEOUT.as_secs()
                )));
            }
        }
        let endpoint = settings.endpoint_url.clone().or_else(|| endpoint(&config));
        let region = match (config.region(), &endpoint) {
            (Some(region), _) => region.to_string(),
            (None, Some(_)) => ANY_REGION.to_owned(),
            (None, None) => resolve_bucket_region(
                bucket,
                &ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT),
            )
            .await
            .unwrap_or_else(|_| ANY_REGION.to_owned()),
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            region,
            endpoint,
            credentials: Arc::new(Credentials { provider }),
        })
    }

    pub(super) fn store(&self, patience: Patience) -> object_store::Result<AmazonS3> {
        let options = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT);
        let connector = InTime {
            answer: patience.answer_timeout(),
        };
        let credentials: Arc<dyn CredentialProvider<Credential = AwsCredential>> =
            Arc::clone(&self.credentials) as _;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_credentials(credentials)
            .with_client_options(options)
            .with_http_connector(connector)
            .with_retry(patience.retries())
            .with_conditional_put(S3ConditionalPut::ETagMatch);
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"));
        }
        builder.build()
    }
}

async fn load(settings: &S3Settings) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(credentials) = &settings.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    loader.load().await
}

/// The endpoint that is configured, if one is. The SDK keeps the variable for S3 alone to itself.
fn endpoint(config: &SdkConfig) -> Option<String> {
    let for_s3 = std::env::var("AWS_ENDPOINT_URL_S3")
        .ok()
        .filter(|url| !url.is_empty());
    for_s3.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Gives up on a request that is not answered, in time to ask again: soon where little is sent.
#[derive(Debug)]
struct InTime {
    answer: Duration,
}

impl HttpConnector for InTime {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = |timeout| {
            let options = options.clone().with_timeout(timeout);
            ReqwestConnector::default().connect(&options)
        };
        Ok(HttpClient::new(Clients {
            asking: client(self.answer)?,
            uploading: client(UPLOAD_TIMEOUT)?,
        }))
    }
}

#[derive(Debug)]
struct Clients {
    asking: HttpClient,
    uploading: HttpClient,
}

#[async_trait]
impl HttpService for Clients {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = if request.body().content_length() > LITTLE_BYTES {
            &self.uploading
        } else {
            &self.asking
        };
        client.execute(request).await
    }
}

/// What is said of credentials that have run out and could not be renewed.
pub(super) const UNRENEWED: &str = "could not renew the AWS credentials";

#[derive(Debug, thiserror::Error)]
#[error("{said}: {0}", said = UNRENEWED)]
struct Unrenewed(String);

/// Lets `object_store` sign with whatever the SDK's chain finds: profiles, single sign-on, web identity, roles of machines.
#[derive(Debug)]
struct Credentials {
    /// Caches, and renews before expiry.
    provider: SharedCredentialsProvider,
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.provider.provide_credentials().await;
        let found = found.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(Unrenewed(chain(&error))),
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
