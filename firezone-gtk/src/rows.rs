//! Rows of lists, and the items of the resource list.

pub(crate) mod check_row;
mod resource_object;
mod resource_row;
pub(crate) mod setting_row;

pub(crate) use resource_object::ResourceObject;
pub(crate) use resource_row::ResourceRow;
