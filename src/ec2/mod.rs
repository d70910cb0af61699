//! Asks EC2's API what the network of accounts and regions looks like; reads only.
//!
//! ```text
//! connect: who asks, and where ──> calls: every list, page by page ──> shapes: records as the AWS CLI prints them
//! ```
//!
//! What answers mean is [`topology`](crate::topology)'s to say, which has no network access of its own. A call that is refused
//! costs its own list and no other: the rest is kept, and the refusal is reported as a [`Gap`].

mod calls;
mod connect;
mod error;
mod shapes;

use futures::{FutureExt, StreamExt, stream};

use crate::topology::Answer;

pub use error::{Ec2Error, Failure, Gap};

/// Accounts and regions that are asked at the same time; each is throttled on its own.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const PLACES_AT_A_TIME: usize = 4;

/// Whom to ask, beside the usual `AWS_…` variables and profiles, which all apply.
#[derive(Debug, Clone, Default)]
pub struct Ec2Settings {
    /// Regions; without one, the configured region.
    pub regions: Vec<String>,
    /// Roles to assume, one account after the other; without one, the caller's own credentials ask.
    pub role_arns: Vec<String>,
    /// What the roles' owners agreed upon with the caller.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html>
    pub external_id: Option<String>,
    /// Another endpoint of EC2 than AWS's, before `AWS_ENDPOINT_URL_EC2` and `AWS_ENDPOINT_URL`.
    pub endpoint_url: Option<String>,
}

/// What was answered, and what was not.
#[derive(Debug)]
pub struct Described {
    /// One for each account and region that answered.
    pub answers: Vec<Answer>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
}

/// Asks every account in every region for everything that a topology is made of.
///
/// # Errors
/// There are no credentials or no region, or not one call was answered.
pub async fn describe(settings: &Ec2Settings) -> Result<Described, Ec2Error> {
    let (askers, mut gaps) = connect::askers(settings).await?;
    let mut answers = Vec::new();
    let mut asking = stream::iter(askers)
        .map(|asker| calls::ask(asker).boxed())
        .buffered(PLACES_AT_A_TIME);
    while let Some((answer, lacking)) = asking.next().await {
        answers.extend(answer);
        gaps.extend(lacking);
    }
    if answers.is_empty() {
        return Err(Ec2Error::NothingRead { gaps });
    }
    Ok(Described { answers, gaps })
}
