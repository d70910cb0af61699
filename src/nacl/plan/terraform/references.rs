//! What values refer to that are known after apply, by the configuration that a plan carries.

use serde_json::Value;

use crate::nacl::PlanError;

/// The configuration, and the network ACLs that the plan creates.
pub(super) struct References<'v> {
    configurations: Vec<&'v Value>,
    /// By their addresses, such as `module.net.aws_network_acl.edge[0]`.
    created: Vec<&'v str>,
}

impl<'v> References<'v> {
    pub(super) fn new(configurations: Vec<&'v Value>, created: Vec<&'v str>) -> Self {
        Self {
            configurations,
            created,
        }
    }

    /// The one created ACL that a resource's value refers to.
    pub(super) fn acl(&self, address: &str, key: &'static str) -> Result<String, PlanError> {
        let (module, _) = split(address);
        let named = self.named(address, key);
        let named = named.filter(|name| name.starts_with("aws_network_acl."));
        let created = named.map(|name| {
            let base = match module {
                "" => name.to_owned(),
                module => format!("{module}.{name}"),
            };
            let is_it = |created: &&&str| {
                let index = created.strip_prefix(base.as_str());
                index.is_some_and(|index| index.is_empty() || index.starts_with('['))
            };
            self.created.iter().filter(is_it).collect::<Vec<_>>()
        });
        match created.as_deref() {
            Some([one]) => Ok((**one).to_owned()),
            _ => {
                let expected = "the id of a network ACL that is there already, or a reference to one that the plan creates";
                Err(self.unknown(address, key, expected))
            }
        }
    }

    /// Why a value can't be used.
    pub(super) fn unknown(
        &self,
        address: &str,
        key: &'static str,
        expected: &'static str,
    ) -> PlanError {
        PlanError::KnownAfterApply {
            place: address.to_owned(),
            field: key,
            expected,
            of: self.named(address, key).map(str::to_owned),
        }
    }

    /// What a resource's value refers to, such as `aws_network_acl.edge` or `var.acl`.
    fn named(&self, address: &str, key: &str) -> Option<&'v str> {
        let (module, resource) = split(address);
        let resource = resource.split('[').next()?;
        let mut configurations = self.configurations.iter();
        configurations.find_map(|configuration| {
            let mut place = configuration.get("root_module")?;
            for name in calls(module) {
                place = place.get("module_calls")?.get(name)?.get("module")?;
            }
            let mut resources = place.get("resources")?.as_array()?.iter();
            let found = resources
                .find(|one| one.get("address").and_then(Value::as_str) == Some(resource))?;
            let references = found.get("expressions")?.get(key)?.get("references")?;
            // Of a value's path Terraform names every part, and what its index comes from: `aws_network_acl.edge[0].id`,
            // `aws_network_acl.edge[0]`, `aws_network_acl.edge`, `each.key`.
            let names = references.as_array()?.iter().filter_map(Value::as_str);
            names.min_by_key(|name| (!name.starts_with("aws_network_acl."), name.len()))
        })
    }
}

/// The module's part of an address, and the resource's.
fn split(address: &str) -> (&str, &str) {
    let mut rest = address;
    while let Some(module) = rest.strip_prefix("module.") {
        // A name has no dot; an index in quotes may.
        let name = module.find(['.', '[']).unwrap_or(module.len());
        let index = match module[name..].starts_with('[') {
            true => module[name..]
                .find(']')
                .map_or(module.len(), |end| name + end + 1),
            false => name,
        };
        rest = module[index..].trim_start_matches('.');
    }
    let module = &address[..address.len() - rest.len()];
    (module.trim_end_matches('.'), rest)
}

/// The names of module calls, from the root on.
fn calls(module: &str) -> impl Iterator<Item = &str> {
    let mut rest = module;
    std::iter::from_fn(move || {
        let name = rest.strip_prefix("module.")?;
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let next = name.find(".module.").map_or(name.len(), |dot| dot + 1);
        rest = &name[next..];
        Some(&name[..end])
    })
}
