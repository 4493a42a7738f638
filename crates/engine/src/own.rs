//! What a program gave modules of the model: a class of its own, attributes, and edits of one by itself.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Class, Machine, Value};

use crate::edit::Edits;
use crate::envoy::Place;

/// What all modules of one job's model were given.
#[derive(Default)]
pub struct Given {
    modules: RefCell<HashMap<Place, Own>>,
    /// Which of nnsight's classes the whole model is of.
    model: Cell<Option<&'static str>>,
}

/// What one module was given.
#[derive(Default)]
struct Own {
    class: Option<Rc<Class>>,
    /// The class by its module and name, where nothing else of it came.
    unsent: Option<(String, String)>,
    attributes: HashMap<Rc<str>, Value>,
    edits: Rc<Edits>,
}

impl Given {
    /// Returns whether no module was given anything.
    pub fn is_empty(&self) -> bool {
        self.modules.borrow().is_empty()
    }

    /// Returns the class of a module.
    pub fn class(&self, place: Place) -> Option<Rc<Class>> {
        self.modules.borrow().get(&place)?.class.clone()
    }

    /// Returns an attribute that was set on a module.
    pub fn attribute(&self, place: Place, name: &str) -> Option<Value> {
        self.modules.borrow().get(&place)?.attributes.get(name).cloned()
    }

    /// Returns whether reading a name may run the program's own code, or give what it set.
    pub fn has(&self, place: Place, name: &str) -> bool {
        let given = self.modules.borrow();
        let Some(own) = given.get(&place) else { return false };
        own.attributes.contains_key(name) || own.class.as_ref().is_some_and(|class| class.find(name).is_some())
    }

    /// Returns the name of nnsight's class of the whole model.
    pub fn of_nnsight(&self) -> &'static str {
        self.model.get().unwrap_or("TransformersModel")
    }

    /// Makes the whole model an object of one of nnsight's classes.
    pub fn set_of_nnsight(&self, name: &'static str) {
        self.model.set(Some(name));
    }

    /// Makes a module an object of a class.
    pub fn set_class(&self, place: Place, class: &Rc<Class>) {
        self.modules.borrow_mut().entry(place).or_default().class = Some(Rc::clone(class));
    }

    /// Notes that of a module's class nothing but the name came.
    pub fn set_unsent(&self, place: Place, module: &str, name: &str) {
        self.modules.borrow_mut().entry(place).or_default().unsent = Some((module.to_owned(), name.to_owned()));
    }

    /// Returns the edits of a module.
    pub fn edits(&self, place: Place) -> Rc<Edits> {
        match self.modules.borrow().get(&place) {
            Some(own) => Rc::clone(&own.edits),
            None => Rc::default(),
        }
    }

    /// Has a module keep edits.
    pub fn keep_edits(&self, place: Place) -> Rc<Edits> {
        Rc::clone(&self.modules.borrow_mut().entry(place).or_default().edits)
    }

    /// Sets an attribute of a module.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn set(&self, machine: &Machine, place: Place, name: &str, value: Value) -> Result<(), Raise> {
        machine.charge_memory(ATTRIBUTE + name.len() as u64)?;
        let before = self.modules.borrow_mut().entry(place).or_default().attributes.insert(name.into(), value);
        drop(before);
        Ok(())
    }

    /// Says that a module does not have a name. `class` is the name of nnsight's class.
    pub fn missing(&self, place: Place, class: &str, name: &str) -> Raise {
        let given = self.modules.borrow();
        let own = given.get(&place);
        let says = |class: &str| format!("'{class}' object (nor its module) has attribute '{name}'");
        Raise::attribute_error(match own {
            Some(Own { class: Some(class), .. }) => says(class.name()),
            Some(Own { unsent: Some((module, class)), .. }) => format!(
                "{}: the class {class} was not sent with the request; call nnsight.register({module}) in your program, \
                 which sends what the module {module} defines",
                says(class)
            ),
            _ => says(class),
        })
    }

    /// Drops everything, which ends cycles through the model.
    pub fn clear(&self) {
        let all = self.modules.take();
        drop(all);
    }
}

/// Bytes charged for an attribute beside its value.
const ATTRIBUTE: u64 = 64;
