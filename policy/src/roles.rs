//! What persons of the organisation may do: roles, and that two pairs of eyes see a record before it is verified.
//!
//! The same engine as for agreements, over `roles.cedar`, which is made for people to read. The node asks here at one
//! place before it carries out a call, and once more for each record that a signed event names. There is no error arm:
//! what cannot be decided is denied.

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use entente_protocol::{id::UserId, user::Role};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    str::FromStr,
};

/// The built-in permissions, as they are evaluated.
pub const ROLES: &str = include_str!("../roles.cedar");
const SCHEMA: &str = include_str!("../roles.cedarschema");

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Looks at records, agreements, partners.
    Read,
    /// Has everything that is stored checked, and exports what audits need.
    Audit,
    /// Looks at the log, and at the kinds and times of the journal's events.
    Log,
    /// Brings evidence in.
    Import,
    /// Asks records back.
    Recall,
    /// Keeps records from deletion.
    Hold,
    /// Asks for grants, and gives them.
    Onward,
    /// Carries bundles.
    Exchange,
    /// Signs agreements and sets their standing.
    Agree,
    /// Changes partners.
    Partner,
    /// Manages persons, clock, certificate.
    Manage,
    /// Reviews.
    Review,
    /// Verifies.
    Verify,
    /// Says that a record is wrong.
    Refute,
    /// Releases.
    Release,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Read,
        Self::Audit,
        Self::Log,
        Self::Import,
        Self::Recall,
        Self::Hold,
        Self::Onward,
        Self::Exchange,
        Self::Agree,
        Self::Partner,
        Self::Manage,
        Self::Review,
        Self::Verify,
        Self::Refute,
        Self::Release,
    ];
    /// Its name in the policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Audit => "audit",
            Self::Log => "log",
            Self::Import => "import",
            Self::Recall => "recall",
            Self::Hold => "hold",
            Self::Onward => "onward",
            Self::Exchange => "exchange",
            Self::Agree => "agree",
            Self::Partner => "partner",
            Self::Manage => "manage",
            Self::Review => "review",
            Self::Verify => "verify",
            Self::Refute => "refute",
            Self::Release => "release",
        }
    }
    /// Whether it is about records, each with those who had it in hand.
    const fn is_of_records(self) -> bool {
        matches!(self, Self::Review | Self::Verify | Self::Refute | Self::Release)
    }
}

/// How many persons must see a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Eyes {
    /// One is enough: visibly marked wherever such a record is shown.
    One,
    /// Two pairs: who reviews is not who collected.
    Two,
}

impl Eyes {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
        }
    }
}

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// The person.
    pub id: UserId,
    /// What that one may do.
    pub roles: &'a [Role],
}

/// A record at the gate, and who had it in hand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Matter {
    /// How many must see it.
    pub eyes: Eyes,
    /// Who brought it in.
    pub collectors: BTreeSet<UserId>,
    /// Who reviewed it, or took a stage.
    pub reviewers: BTreeSet<UserId>,
}

impl Matter {
    /// A record that nobody had in hand.
    pub const fn new(eyes: Eyes) -> Self {
        Self { eyes, collectors: BTreeSet::new(), reviewers: BTreeSet::new() }
    }
}

/// A person may not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No role of theirs permits it.
    #[error("`{act}` needs the role {}", or(roles))]
    Role {
        /// What.
        act: &'static str,
        /// Roles that would.
        roles: Vec<&'static str>,
    },
    /// A rule forbids it whatever the roles are.
    #[error("{0}")]
    Forbidden(String),
    /// It could not be decided.
    #[error("the rules for roles could not be evaluated, so nothing is permitted: {0}")]
    Undecided(String),
}

fn or(roles: &[&str]) -> String {
    if roles.is_empty() { "that nobody can have".to_owned() } else { format!("`{}`", roles.join("` or `")) }
}

/// The built-in permissions do not read: a defect of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the built-in rules for roles do not hold together: {0}")]
pub struct RolesFault(String);

/// The permissions, ready to be asked.
#[derive(Debug)]
pub struct Roles {
    schema: Schema,
    policies: PolicySet,
}

/// What the engine is asked.
struct Asked<'a> {
    person: Person<'a>,
    act: &'static str,
    matter: Option<&'a Matter>,
    context: Vec<(String, RestrictedExpression)>,
}

impl Roles {
    /// Reads and validates the built-in permissions.
    pub fn built_in() -> Result<Self, RolesFault> {
        Self::parse(ROLES)
    }

    fn parse(text: &str) -> Result<Self, RolesFault> {
        let fault = |e: &dyn fmt::Display| RolesFault(e.to_string());
        let schema = Schema::from_str(SCHEMA).map_err(|e| fault(&e))?;
        let policies = PolicySet::from_str(text).map_err(|e| fault(&e))?;
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        match result.validation_errors().next() {
            Some(error) => Err(fault(&error)),
            None => Ok(Self { schema, policies }),
        }
    }

    /// Whether a person may do what is about no record, or about records that nobody had in hand.
    pub fn may(&self, person: Person<'_>, act: Act) -> Result<(), Denied> {
        let fresh = Matter::new(Eyes::Two);
        let matter = act.is_of_records().then_some(&fresh);
        self.ask(&Asked { person, act: act.name(), matter, context: Vec::new() }, || self.roles_for(act))
    }

    /// Whether a person may do it to this record.
    pub fn may_to(&self, person: Person<'_>, act: Act, matter: &Matter) -> Result<(), Denied> {
        let matter = act.is_of_records().then_some(matter);
        self.ask(&Asked { person, act: act.name(), matter, context: Vec::new() }, || self.roles_for(act))
    }

    /// Whether a person may take a stage that the settings give to a role; `draft` where it leaves the record a draft.
    pub fn may_take(&self, person: Person<'_>, (role, draft): (Role, bool), matter: &Matter) -> Result<(), Denied> {
        let context = vec![
            ("role".to_owned(), RestrictedExpression::new_string(role.name().to_owned())),
            ("draft".to_owned(), RestrictedExpression::new_bool(draft)),
        ];
        self.ask(&Asked { person, act: "stage", matter: Some(matter), context }, || vec![role.name()])
    }

    /// The roles that alone permit it.
    pub fn roles_for(&self, act: Act) -> Vec<&'static str> {
        let alone = |role: &Role| {
            let person = Person { id: UserId::from_bytes([0; 16]), roles: std::slice::from_ref(role) };
            let fresh = Matter::new(Eyes::Two);
            let matter = act.is_of_records().then_some(&fresh);
            self.ask(&Asked { person, act: act.name(), matter, context: Vec::new() }, Vec::new).is_ok()
        };
        Role::ALL.iter().filter(|role| alone(role)).map(|role| role.name()).collect()
    }

    fn ask(&self, asked: &Asked<'_>, roles: impl FnOnce() -> Vec<&'static str>) -> Result<(), Denied> {
        let (request, entities) = self.request(asked).map_err(Denied::Undecided)?;
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let diagnostics = response.diagnostics();
        // Cedar skips a policy that errs, and a forbid that is skipped forbids nothing.
        if let Some(error) = diagnostics.errors().next() {
            return Err(Denied::Undecided(error.to_string()));
        }
        if response.decision() == Decision::Allow {
            return Ok(());
        }
        let said = diagnostics.reason().next().and_then(|id| self.policies.policy(id)?.annotation("id"));
        Err(said
            .map_or_else(|| Denied::Role { act: asked.act, roles: roles() }, |why| Denied::Forbidden(why.to_owned())))
    }

    fn request(&self, asked: &Asked<'_>) -> Result<(Request, Entities), String> {
        let text = |e: &dyn fmt::Display| e.to_string();
        let principal = uid("User", &asked.person.id.to_string())?;
        let action = uid("Action", asked.act)?;
        let roles = asked.person.roles.iter().map(|role| RestrictedExpression::new_string(role.name().to_owned()));
        let roles = HashMap::from([("roles".to_owned(), RestrictedExpression::new_set(roles))]);
        let mut entities = vec![Entity::new(principal.clone(), roles, HashSet::new()).map_err(|e| text(&e))?];
        let resource = match asked.matter {
            None => uid("Office", "office")?,
            Some(matter) => {
                let resource = uid("Record", "record")?;
                let members = HashMap::from([
                    ("eyes".to_owned(), RestrictedExpression::new_string(matter.eyes.name().to_owned())),
                    ("collectors".to_owned(), persons(&matter.collectors)?),
                    ("reviewers".to_owned(), persons(&matter.reviewers)?),
                ]);
                entities.push(Entity::new(resource.clone(), members, HashSet::new()).map_err(|e| text(&e))?);
                resource
            }
        };
        let context = Context::from_pairs(asked.context.iter().cloned()).map_err(|e| text(&e))?;
        let request = Request::new(principal, action, resource, context, Some(&self.schema)).map_err(|e| text(&e))?;
        Ok((request, Entities::from_entities(entities, None).map_err(|e| text(&e))?))
    }
}

fn uid(name: &str, id: &str) -> Result<EntityUid, String> {
    let name = EntityTypeName::from_str(name).map_err(|e| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

fn persons(ids: &BTreeSet<UserId>) -> Result<RestrictedExpression, String> {
    let each = ids.iter().map(|id| uid("User", &id.to_string()).map(RestrictedExpression::new_entity_uid));
    Ok(RestrictedExpression::new_set(each.collect::<Result<Vec<_>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: UserId = UserId::from_bytes([1; 16]);
    const OTHER: UserId = UserId::from_bytes([2; 16]);

    fn me(roles: &[Role]) -> Person<'_> {
        Person { id: ME, roles }
    }

    fn matter(eyes: Eyes, collectors: &[UserId], reviewers: &[UserId]) -> Matter {
        let set = |ids: &[UserId]| ids.iter().copied().collect();
        Matter { eyes, collectors: set(collectors), reviewers: set(reviewers) }
    }

    /// The table that OPERATING.md prints: whoever changes a permission changes it here.
    #[test]
    fn each_act_has_its_roles() -> Result<(), RolesFault> {
        let roles = Roles::built_in()?;
        let expected = [
            (Act::Read, "administrator collector contact reviewer verifier"),
            (Act::Audit, "administrator auditor"),
            (Act::Log, "administrator auditor collector contact reviewer verifier"),
            (Act::Import, "collector"),
            (Act::Recall, "contact reviewer verifier"),
            (Act::Hold, "administrator contact"),
            (Act::Onward, "contact"),
            (Act::Exchange, "administrator contact"),
            (Act::Agree, "administrator"),
            (Act::Partner, "administrator"),
            (Act::Manage, "administrator"),
            (Act::Review, "reviewer verifier"),
            (Act::Verify, "verifier"),
            (Act::Refute, "reviewer verifier"),
            (Act::Release, "contact verifier"),
        ];
        assert_eq!(expected.map(|(act, _)| act), Act::ALL);
        for (act, who) in expected {
            assert_eq!(roles.roles_for(act).join(" "), who, "{}", act.name());
            assert!(roles.may(me(&[]), act).is_err(), "without a role nothing is permitted: {}", act.name());
            assert_eq!(roles.may(me(&Role::ALL), act), Ok(()));
        }
        let denied = roles.may(me(&[Role::Collector]), Act::Verify).map_err(|e| e.to_string());
        assert_eq!(denied, Err("`verify` needs the role `verifier`".to_owned()));
        Ok(())
    }

    #[test]
    fn four_eyes_see_a_record() -> Result<(), RolesFault> {
        let roles = Roles::built_in()?;
        let check = |act, eyes, collectors: &[UserId], reviewers: &[UserId]| {
            roles.may_to(me(&Role::ALL), act, &matter(eyes, collectors, reviewers)).is_ok()
        };
        assert!(!check(Act::Review, Eyes::Two, &[ME], &[]) && check(Act::Review, Eyes::One, &[ME], &[]));
        assert!(check(Act::Review, Eyes::Two, &[OTHER], &[ME]), "to review again is no verification");
        assert!(!check(Act::Verify, Eyes::Two, &[ME], &[OTHER]) && !check(Act::Verify, Eyes::Two, &[OTHER], &[ME]));
        assert!(check(Act::Verify, Eyes::Two, &[OTHER], &[OTHER]) && check(Act::Verify, Eyes::One, &[ME], &[ME]));
        assert!(check(Act::Refute, Eyes::Two, &[ME], &[ME]) && check(Act::Release, Eyes::Two, &[ME], &[ME]));
        let denied = roles.may_to(me(&Role::ALL), Act::Review, &matter(Eyes::Two, &[ME, OTHER], &[]));
        assert!(denied.is_err_and(|why| why.to_string().starts_with("four eyes: whoever collected")));
        Ok(())
    }

    #[test]
    fn a_stage_is_taken_by_its_role_and_by_new_eyes() -> Result<(), RolesFault> {
        let roles = Roles::built_in()?;
        let take = |held: &[Role], (role, draft), eyes, collectors: &[UserId], reviewers: &[UserId]| {
            roles.may_take(me(held), (role, draft), &matter(eyes, collectors, reviewers)).is_ok()
        };
        let transcribed = (Role::Collector, true);
        assert!(take(&[Role::Collector], transcribed, Eyes::Two, &[ME], &[]), "what leaves it a draft needs no other");
        assert!(!take(&[Role::Reviewer], transcribed, Eyes::Two, &[], &[]));
        let second = (Role::Reviewer, false);
        assert!(take(&[Role::Reviewer], second, Eyes::Two, &[OTHER], &[OTHER]));
        assert!(!take(&[Role::Reviewer], second, Eyes::Two, &[ME], &[OTHER]));
        assert!(!take(&[Role::Reviewer], second, Eyes::Two, &[OTHER], &[OTHER, ME]));
        assert!(take(&[Role::Reviewer], second, Eyes::One, &[ME], &[ME]));
        Ok(())
    }

    /// Story: Cedar skips a policy that errs. A forbid that cannot be evaluated must not vanish.
    #[test]
    fn what_cannot_be_evaluated_permits_nothing() -> Result<(), RolesFault> {
        let erring = "@id(\"all\") permit(principal, action == Action::\"stage\", resource);\n\
            @id(\"errs\") forbid(principal, action == Action::\"stage\", resource) when { context.role == \"x\" };";
        let roles = Roles::parse(erring)?;
        // Without the member that the forbid reads; the schema would refuse it, so it is left out here.
        let asked = Asked { person: me(&[]), act: "stage", matter: Some(&Matter::new(Eyes::Two)), context: Vec::new() };
        assert!(matches!(roles.ask(&asked, Vec::new), Err(Denied::Undecided(_))));
        assert!(Roles::parse("permit(principal, action == Action::\"none\", resource);").is_err());
        assert!(Roles::parse("permit(principal, action, resource) when { principal.rank > 1 };").is_err());
        Ok(())
    }
}
