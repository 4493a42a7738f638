//! The client's copy of the module tree.

use program::Source;
use program::datum::{Edit, Envoy};

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

    /// Reduces an envoy to its path, edits and aliases. The tree below it is the server's own.
    pub(super) fn envoy(&mut self, id: Id) -> Result<Option<Envoy>, DecodeError> {
        if !self.is_envoy(id)? {
            return Ok(None);
        }
        let Some(state) = self.state(id) else { return Ok(None) };
        let Some(path) = self.text_entry(state, "path")? else { return Ok(None) };
        let edits = self.edits(state)?;
        let aliases = self.aliases(state, &path)?;
        Ok(Some(Envoy { path: below_root(&path).to_owned(), edits, aliases }))
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

    /// Collects the aliases of an envoy and of everything below it, by paths below the envoy.
    fn aliases(&mut self, state: Id, root: &str) -> Result<Vec<(String, String)>, DecodeError> {
        let graph = self.graph;
        let mut aliases = Vec::new();
        // Every envoy of a renamed tree holds the same rules; without them nothing below has an alias.
        match self.entry(state, "_rename")? {
            Some(rules) if graph.dict(rules).is_some_and(|rules| !rules.is_empty()) => {}
            _ => return Ok(aliases),
        }
        let mut work = vec![state];
        while let Some(state) = work.pop() {
            let path = self.text_entry(state, "path")?.unwrap_or_default();
            let below = path.strip_prefix(root).unwrap_or_default().trim_start_matches('.');
            let own = self.entry(state, "_aliases")?;
            for &(alias, real) in own.and_then(|own| graph.dict(own)).unwrap_or_default() {
                let (Some(alias), Some(real)) = (graph.text(alias), graph.text(real)) else { continue };
                self.spend((2 * below.len() + alias.len() + real.len()) as u64)?;
                let join = |name: &str| if below.is_empty() { name.to_owned() } else { format!("{below}.{name}") };
                aliases.push((join(alias), join(real)));
            }
            let Some(children) = self.entry(state, "_children")? else { continue };
            let Node::List(children) = graph.get(children) else { continue };
            for &child in children {
                // What is walked is charged for, so a tree that contains itself ends.
                self.spend(16)?;
                work.extend(self.state(child));
            }
        }
        Ok(aliases)
    }
}
