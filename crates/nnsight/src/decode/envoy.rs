//! The client's copy of the module tree.

use std::collections::HashSet;

use program::Source;
use program::datum::{Edit, Envoy, Own};

use crate::decode::lower::{Lowering, below_root};
use crate::error::DecodeError;
use crate::pickle::{Id, Node};

impl Lowering<'_, '_> {
    /// Returns whether an object is a module of the traced model: by its state, for users may derive their own class.
    pub(super) fn is_envoy(&mut self, id: Id) -> Result<bool, DecodeError> {
        let Some(state) = self.state(id) else { return Ok(false) };
        let Some(module) = self.entry(state, "_module")? else { return Ok(false) };
        let Node::Persistent(module) = *self.graph.get(module) else { return Ok(false) };
        Ok(self.graph.text(module).is_some_and(|name| name.starts_with("Module:")))
    }

    /// Reduces an envoy to its path, edits, aliases and what the program gave it. The tree below it is the server's own.
    pub(super) fn envoy(&mut self, id: Id) -> Result<Option<Envoy>, DecodeError> {
        if !self.is_envoy(id)? {
            return Ok(None);
        }
        let Some(state) = self.state(id) else { return Ok(None) };
        let Some(path) = self.text_entry(state, "path")? else { return Ok(None) };
        let edits = self.edits(state)?;
        let Below { aliases, own } = self.below(id, &path)?;
        Ok(Some(Envoy { path: below_root(&path).to_owned(), edits, aliases, own }))
    }

    fn edits(&mut self, state: Id) -> Result<Vec<Edit>, DecodeError> {
        let graph = self.graph;
        let Some(list) = self.entry(state, "_edits")? else { return Ok(Vec::new()) };
        let Node::List(mediators) = graph.get(list) else { return Ok(Vec::new()) };
        let mut edits = Vec::with_capacity(mediators.len());
        for &mediator in mediators {
            let reduced = match self.state(mediator) {
                Some(state) => self.entry(state, "reduced")?,
                None => None,
            };
            let Some(reduced) = reduced else { return Err(DecodeError::Payload("an edit has no block")) };
            let (text, globals, locals) = self.block(reduced)?;
            // The client does not say which file or function an edit was written in.
            let source = Source { text, filename: "<edit>".into(), function: "<module>".into() };
            edits.push(Edit { source, globals, locals });
        }
        Ok(edits)
    }

    /// Collects the aliases of an envoy and of everything below it, by paths below the envoy, and what the program gave
    /// each of them.
    fn below(&mut self, id: Id, root: &str) -> Result<Below, DecodeError> {
        let graph = self.graph;
        let mut below = Below::default();
        // Every envoy of a renamed tree holds the same rules; without them nothing has an alias.
        let rules = self.state(id).map(|state| self.entry(state, "_rename")).transpose()?.flatten();
        let renamed = rules.and_then(|rules| graph.dict(rules)).is_some_and(|rules| !rules.is_empty());
        let (mut work, mut seen) = (vec![id], HashSet::from([id]));
        while let Some(id) = work.pop() {
            // What is walked is charged for, by each module and by each of its names.
            self.spend(16)?;
            let Some(state) = self.state(id) else { continue };
            let path = self.text_entry(state, "path")?.unwrap_or_default();
            let relative = path.strip_prefix(root).unwrap_or_default().trim_start_matches('.');
            let aliases = self.entry(state, "_aliases")?.and_then(|own| graph.dict(own)).unwrap_or_default();
            for &(alias, real) in aliases.iter().filter(|_| renamed) {
                let (Some(alias), Some(real)) = (graph.text(alias), graph.text(real)) else { continue };
                self.spend((2 * relative.len() + alias.len() + real.len()) as u64)?;
                let join = |name: &str| match relative {
                    "" => name.to_owned(),
                    relative => format!("{relative}.{name}"),
                };
                below.aliases.push((join(alias), join(real)));
            }
            let own = self.own(id, state, &path, aliases)?;
            let edits = if relative.is_empty() { Vec::new() } else { self.edits(state)? };
            let own = Own { edits, ..own };
            if own.class.is_some() || !own.attributes.is_empty() || !own.edits.is_empty() {
                below.own.push(Own { path: relative.to_owned(), ..own });
            }
            let Some(children) = self.entry(state, "_children")? else { continue };
            let Node::List(children) = graph.get(children) else { continue };
            work.extend(children.iter().filter(|&&child| seen.insert(child)));
        }
        Ok(below)
    }

    /// Reads what of an envoy's state and class is not nnsight's.
    fn own(&mut self, id: Id, state: Id, path: &str, aliases: &[(Id, Id)]) -> Result<Own, DecodeError> {
        let graph = self.graph;
        let class = graph.object(id).map(|object| object.callee);
        let class = class.filter(|&class| match graph.global(class) {
            Some((module, name)) => !is_of_nnsight(module) || !USUAL.contains(&name),
            None => true,
        });
        let mut own = Own { class: class.map(|class| self.refer(class)), ..Own::default() };
        let pairs = graph.dict(state).unwrap_or_default();
        for &(key, value) in pairs {
            self.spend(8)?;
            let Some(name) = graph.text(key) else { continue };
            let aliased = || aliases.iter().any(|&(alias, _)| graph.text(alias) == Some(name));
            if OF_NNSIGHT.contains(&name) || aliased() || self.is_child(value, path, name)? {
                continue;
            }
            own.attributes.push((self.copy(name)?, self.refer(value)));
        }
        Ok(own)
    }

    /// Returns whether a value is the envoy of a module's child under its own name.
    fn is_child(&mut self, value: Id, parent: &str, name: &str) -> Result<bool, DecodeError> {
        if !self.is_envoy(value)? {
            return Ok(false);
        }
        let Some(state) = self.state(value) else { return Ok(false) };
        let path = self.entry(state, "path")?.and_then(|path| self.graph.text(path)).unwrap_or_default();
        let rest = path.strip_prefix(parent).and_then(|rest| rest.strip_prefix('.'));
        Ok(rest == Some(name))
    }
}

/// What the walk through a part of the module tree found.
#[derive(Default)]
struct Below {
    aliases: Vec<(String, String)>,
    own: Vec<Own>,
}

/// What nnsight keeps in an envoy itself. The server has its own of each, or no use for it.
const OF_NNSIGHT: [&str; 24] = [
    "_module",
    "path",
    "interleaver",
    "_edits",
    "_rename",
    "_aliases",
    "_envoys",
    "_children",
    "_child_map",
    "_parent",
    "task",
    "pipeline",
    "tokenizer",
    "processor",
    "image_processor",
    "feature_extractor",
    "peft",
    "repo_id",
    "revision",
    "dispatched",
    "args",
    "kwargs",
    "generator",
    "streamer",
];

/// The classes that nnsight itself gives models and their modules, where programs use no other.
const USUAL: [&str; 3] = ["TransformersModel", "Envoy", "GeneratorEnvoy"];

fn is_of_nnsight(module: &str) -> bool {
    module == "nnsight" || module.starts_with("nnsight.")
}
