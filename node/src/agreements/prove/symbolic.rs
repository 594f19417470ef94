//! A claim as a formula: Cedar's symbolic compiler, and nothing else of it.
//!
//! The one file that names the compiler, and Cedar beside it: the two speak in each other's types. It decides nothing; what
//! the solver finds goes back to `policy`, whose engine judges it. The compiler's own way to run a solver is not used: it
//! inherits the environment and waits without end. It writes into memory here, so its futures never wait.

use super::solver::{Answer, SolverFault};
use cedar_policy::{EntityTypeName, EntityUid, Policy, PolicyId, RequestEnv, Schema};
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, Env, ResetMode,
    err::{Error, SolverError},
    solver::{Decision, DecisionWithModel, Solver},
};
use entente_policy::claim::{Claim, Confirmed};
use std::{
    pin::pin,
    str::FromStr,
    task::{Context, Poll, Waker},
    thread,
};

/// Conditions are bounded; the compiler walks what is made of them recursively.
const STACK_BYTES: usize = 64 << 20;

/// Asks the solver one question.
pub type Ask<'a> = &'a mut (dyn FnMut(&str) -> Result<Answer, SolverFault> + Send);

/// Why a claim is neither proved nor refuted.
#[derive(Debug, thiserror::Error)]
pub enum Unsolved {
    /// No answer of the solver.
    #[error(transparent)]
    Solver(#[from] SolverFault),
    /// What the symbolic compiler cannot say as a formula.
    #[error("the conditions use what cannot be turned into a formula: {0}")]
    Unsupported(String),
    /// A record that cannot be read from the solver's answer.
    #[error("the solver found something that cannot be read as a record: {0}")]
    Unread(String),
}

/// Whether no record meets a claim's policy; one that does, as the decider's engine judges it.
pub fn solve(claim: &Claim<'_>, ask: Ask<'_>) -> Result<Option<Confirmed>, Unsolved> {
    let died = || Unsolved::Unsupported("they are too deep".to_owned());
    let found = thread::scope(|scope| {
        let work = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || search(claim, ask));
        work.ok().and_then(|work| work.join().ok()).unwrap_or_else(|| Err(died()))
    })?;
    Ok(found.map(|env| claim.confirm(&env.request, &env.entities)))
}

fn search(claim: &Claim<'_>, ask: Ask<'_>) -> Result<Option<Env>, Unsolved> {
    let unsupported = |what: String| Unsolved::Unsupported(what);
    let (schema, _) = Schema::from_cedarschema_str(&claim.schema).map_err(|e| unsupported(e.to_string()))?;
    let policy = Policy::parse(Some(PolicyId::new("claim")), &claim.policy).map_err(|e| unsupported(e.to_string()))?;
    let [principal, resource, action] = &claim.request;
    let type_name = |name: &str| EntityTypeName::from_str(name).map_err(|e| unsupported(e.to_string()));
    let action = EntityUid::from_str(&format!("Action::\"{action}\"")).map_err(|e| unsupported(e.to_string()))?;
    let env = RequestEnv::new(type_name(principal)?, action, type_name(resource)?);
    let compiled = CompiledPolicy::compile(&policy, &env, &schema).map_err(of_compiler)?;
    let bridge = Bridge { script: Vec::new(), ask, fault: None };
    let mut compiler = CedarSymCompiler::new(bridge).map_err(of_compiler)?.with_reset_mode(ResetMode::Comment);
    let polled = {
        let future = pin!(compiler.check_never_matches_with_counterexample_opt(&compiled));
        future.poll(&mut Context::from_waker(Waker::noop()))
    };
    if let Some(fault) = compiler.solver_mut().fault.take() {
        return Err(fault.into());
    }
    match polled {
        Poll::Ready(found) => found.map_err(of_compiler),
        Poll::Pending => Err(unsupported("the compiler waits for something".to_owned())),
    }
}

fn of_compiler(error: Error) -> Unsolved {
    match error {
        Error::SolverUnknown => SolverFault::Unknown.into(),
        Error::DecodeModel(_) | Error::ConcretizeError(_) | Error::ModelInvalid { .. } => {
            Unsolved::Unread(error.to_string())
        }
        other => Unsolved::Unsupported(other.to_string()),
    }
}

/// The compiler's seam to a solver: collects a whole question, then asks it.
struct Bridge<'a> {
    script: Vec<u8>,
    ask: Ask<'a>,
    fault: Option<SolverFault>,
}

impl Bridge<'_> {
    fn asked(&mut self) -> Result<Answer, SolverError> {
        let script = String::from_utf8_lossy(&self.script).into_owned();
        (self.ask)(&script).map_err(|fault| {
            self.fault = Some(fault);
            SolverError::SolverMarkedFailed
        })
    }
}

impl Solver for Bridge<'_> {
    fn smtlib_input(&mut self) -> &mut (dyn tokio::io::AsyncWrite + Unpin + Send) {
        &mut self.script
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        self.script.extend_from_slice(b"(set-option :produce-models true)\n");
        Ok(())
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        Ok(match self.asked()? {
            Answer::Unsat => Decision::Unsat,
            Answer::Sat(_) => Decision::Sat,
        })
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        Ok(match self.asked()? {
            Answer::Unsat => DecisionWithModel::Unsat,
            Answer::Sat(model) => DecisionWithModel::Sat { model },
        })
    }
}
