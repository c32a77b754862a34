//! Rows of the list of resources, and the objects that the list holds.

mod object;
mod resource_row;

pub(crate) use object::ResourceObject;
pub(crate) use resource_row::ResourceRow;
