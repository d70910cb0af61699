//! An EC2 and an STS that run inside the test: HTTP on a free port of 127.0.0.1, calls of AWS's query protocol in, XML out.
//!
//! A closure answers; what it leaves out is an empty list. Everything that was asked is recorded.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// The access key of the caller itself.
pub(crate) const OWN_KEY: &str = "AKIDOWN";

/// One request, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// As `DescribeVpcs`.
    pub(crate) action: String,
    /// The region that the request was signed for.
    pub(crate) region: String,
    /// The access key that it was signed with.
    pub(crate) key: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Call {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    /// The elements of an answer of this call.
    pub(crate) fn xml(call: &Call, elements: &str) -> Self {
        let action = &call.action;
        Self {
            status: 200,
            body: format!(
                "<{action}Response><requestId>r-1</requestId>{elements}</{action}Response>"
            ),
        }
    }

    /// A list, such as `vpcSet`, with a token if more pages follow.
    pub(crate) fn list(call: &Call, set: &str, items: &[String], next: Option<&str>) -> Self {
        let items: String = items.iter().map(|item| element("item", item)).collect();
        let next = next.map_or(String::new(), |token| element("nextToken", token));
        Self::xml(call, &(element(set, &items) + &next))
    }

    /// An error in EC2's form.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let error = element("Code", code) + &element("Message", message);
        let errors = element("Errors", &element("Error", &error));
        Self {
            status,
            body: element("Response", &(errors + "<RequestID>r-1</RequestID>")),
        }
    }

    /// An error in STS's form.
    pub(crate) fn sts_error(status: u16, code: &str, message: &str) -> Self {
        let error = "<Type>Sender</Type>".to_owned()
            + &element("Code", code)
            + &element("Message", message);
        Self {
            status,
            body: element("ErrorResponse", &element("Error", &error)),
        }
    }

    /// Who the caller is. STS's answers begin with their result.
    pub(crate) fn identity(account: &str, arn: &str) -> Self {
        let result =
            element("Arn", arn) + &element("Account", account) + &element("UserId", "AIDA");
        Self {
            status: 200,
            body: element(
                "GetCallerIdentityResponse",
                &element("GetCallerIdentityResult", &result),
            ),
        }
    }

    /// Credentials of a role.
    pub(crate) fn role(account: &str, key: &str) -> Self {
        let credentials = element("AccessKeyId", key)
            + "<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
               <Expiration>2099-01-01T00:00:00Z</Expiration>";
        let user = format!(
            "<Arn>arn:aws:sts::{account}:assumed-role/reader/flowscout</Arn>\
             <AssumedRoleId>AROA:flowscout</AssumedRoleId>"
        );
        let result = element("Credentials", &credentials) + &element("AssumedRoleUser", &user);
        Self {
            status: 200,
            body: element("AssumeRoleResponse", &element("AssumeRoleResult", &result)),
        }
    }
}

/// `<name>content</name>`.
pub(crate) fn element(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

type Answer = dyn Fn(&Call) -> Option<Reply> + Send + Sync;

/// A running server. Its threads end with the test's process.
pub(crate) struct Ec2Server {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Ec2Server {
    pub(crate) fn start(answer: impl Fn(&Call) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let recorded = Arc::clone(&calls);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (answer, recorded) = (Arc::clone(&answer), Arc::clone(&recorded));
                // A client that goes away in the middle is the client's affair.
                thread::spawn(move || serve(socket, &*answer, &recorded).ok());
            }
        });
        Self { address, calls }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Credentials of the caller, in this region; no endpoint yet.
    pub(crate) fn credentials<'c>(
        &self,
        command: &'c mut Command,
        region: &str,
    ) -> &'c mut Command {
        command
            .env("AWS_ACCESS_KEY_ID", OWN_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", region)
    }

    /// All of them that were asked so far, by name.
    pub(crate) fn calls(&self, action: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| call.action == action)
            .cloned()
            .collect()
    }
}

/// Answers one connection's requests, one after the other.
fn serve(socket: TcpStream, answer: &Answer, recorded: &Mutex<Vec<Call>>) -> io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut writer = socket;
    while let Some(call) = read_call(&mut reader)? {
        recorded.lock().unwrap().push(call.clone());
        let reply = answer(&call).unwrap_or_else(|| Reply::xml(&call, ""));
        write!(
            writer,
            "HTTP/1.1 {} As Told\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{}",
            reply.status,
            reply.body.len(),
            reply.body
        )?;
    }
    Ok(())
}

fn read_call(reader: &mut impl BufRead) -> io::Result<Option<Call>> {
    let (mut length, mut scope) = (0, Vec::new());
    let mut any = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() && any {
            break;
        }
        any = true;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        } else if name.eq_ignore_ascii_case("authorization") {
            // `AWS4-HMAC-SHA256 Credential=KEY/20260310/eu-west-1/ec2/aws4_request, …`
            let (_, credential) = value.split_once("Credential=").unwrap();
            scope = credential.split(['/', ',']).map(str::to_owned).collect();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let parameters: BTreeMap<String, String> =
        url::form_urlencoded::parse(&body).into_owned().collect();
    let part = |index: usize| scope.get(index).cloned().unwrap_or_default();
    Ok(Some(Call {
        action: parameters.get("Action").cloned().unwrap_or_default(),
        region: part(2),
        key: part(0),
        parameters,
    }))
}
