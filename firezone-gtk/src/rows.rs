//! Rows of lists, and the objects that the list of resources holds.

pub(crate) mod check_row;
mod object;
mod resource_row;
pub(crate) mod setting_row;

pub(crate) use object::ResourceObject;
pub(crate) use resource_row::ResourceRow;
