// Sizes of images, written as the service has them: WIDTHxHEIGHT.
export const sizeOf = (recipe, model) => recipe.size ?? model.sizes[0]; // recipes leave out the model's own

export const sidesOf = (size) => size.split("x").map(Number);

export const spelt = (size) => size.replace("x", " × ");
