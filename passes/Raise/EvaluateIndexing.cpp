// Nodes that move elements: gathers, scatters, slices, shapes.

#include "passes/Raise/Evaluation.h"

using namespace mlir;
using namespace moe;
using namespace moe::evaluation;

bool Evaluation::gather() {
  const HostTensor &data = *in[0], &indices = *in[1];
  int64_t at = axis(0, data.rank());
  if (at < 0 || at >= data.rank())
    return fail("axis out of range");
  Around from(data.shape, at);
  Shape shape(data.shape.begin(), data.shape.begin() + at);
  shape.append(indices.shape.begin(), indices.shape.end());
  shape.append(data.shape.begin() + at + 1, data.shape.end());
  HostTensor result(shape, 0.0, data.isInteger);
  int64_t count = indices.size();
  for (int64_t o = 0; o < from.outer; ++o)
    for (int64_t j = 0; j < count; ++j) {
      int64_t index = static_cast<int64_t>(indices.data[j]);
      index = index < 0 ? index + from.along : index;
      if (index < 0 || index >= from.along)
        return fail("index out of range");
      std::copy_n(data.data.begin() + from.at(o, index, 0), from.inner,
                  result.data.begin() + (o * count + j) * from.inner);
    }
  return give(std::move(result));
}

bool Evaluation::gatherElements() {
  const HostTensor &data = *in[0], &indices = *in[1];
  int64_t at = axis(0, data.rank());
  if (data.rank() != indices.rank() || at < 0 || at >= data.rank())
    return fail("ranks differ");
  HostTensor result(indices.shape, 0.0, data.isInteger);
  Shape strides = stridesOf(data.shape);
  Odometer position(indices.shape);
  for (size_t i = 0; i < result.data.size(); ++i, position.step()) {
    Shape index = position.index;
    int64_t chosen = static_cast<int64_t>(indices.data[i]);
    index[at] = chosen < 0 ? chosen + data.shape[at] : chosen;
    for (size_t d = 0; d < index.size(); ++d)
      if (index[d] < 0 || index[d] >= data.shape[d])
        return fail("index out of range");
    result.data[i] = data.data[offsetOf(index, strides)];
  }
  return give(std::move(result));
}

bool Evaluation::gatherND() {
  const HostTensor &data = *in[0], &indices = *in[1];
  if (node.intAttribute("batch_dims", 0) != 0 || indices.rank() < 1 ||
      indices.shape.back() > data.rank())
    return fail("batch_dims or index depth is not supported");
  int64_t depth = indices.shape.back();
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  int64_t count = product(shape);
  shape.append(data.shape.begin() + depth, data.shape.end());
  HostTensor result(shape, 0.0, data.isInteger);
  Shape strides = stridesOf(data.shape);
  int64_t inner = product(ArrayRef<int64_t>(data.shape).drop_front(depth));
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = 0;
    for (int64_t d = 0; d < depth; ++d) {
      int64_t index = static_cast<int64_t>(indices.data[i * depth + d]);
      index = index < 0 ? index + data.shape[d] : index;
      if (index < 0 || index >= data.shape[d])
        return fail("index out of range");
      offset += index * strides[d];
    }
    std::copy_n(data.data.begin() + offset, inner,
                result.data.begin() + i * inner);
  }
  return give(std::move(result));
}

/// How a scatter joins an update with what is there.
static bool join(StringRef how, double &to, double update) {
  if (how == "none")
    to = update;
  else if (how == "add")
    to += update;
  else if (how == "mul")
    to *= update;
  else if (how == "max")
    to = std::max(to, update);
  else if (how == "min")
    to = std::min(to, update);
  else
    return false;
  return true;
}

bool Evaluation::scatterElements() {
  HostTensor result = *in[0];
  const HostTensor &indices = *in[1], &updates = *in[2];
  int64_t at = axis(0, result.rank());
  if (result.rank() != indices.rank() || indices.shape != updates.shape ||
      at < 0 || at >= result.rank())
    return fail("shapes do not fit each other");
  StringRef how = node.stringAttribute("reduction", "none");
  Shape strides = stridesOf(result.shape);
  Odometer position(indices.shape);
  for (int64_t i = 0; i < indices.size(); ++i, position.step()) {
    Shape index = position.index;
    int64_t chosen = static_cast<int64_t>(indices.data[i]);
    index[at] = chosen < 0 ? chosen + result.shape[at] : chosen;
    for (size_t d = 0; d < index.size(); ++d)
      if (index[d] < 0 || index[d] >= result.shape[d])
        return fail("index out of range");
    if (!join(how, result.data[offsetOf(index, strides)], updates.data[i]))
      return fail("unknown reduction");
  }
  return give(std::move(result));
}

bool Evaluation::scatterND() {
  HostTensor result = *in[0];
  const HostTensor &indices = *in[1], &updates = *in[2];
  if (indices.rank() < 1 || indices.shape.back() > result.rank())
    return fail("index depth does not fit");
  int64_t depth = indices.shape.back();
  Shape expected(indices.shape.begin(), indices.shape.end() - 1);
  int64_t count = product(expected);
  expected.append(result.shape.begin() + depth, result.shape.end());
  if (expected != updates.shape)
    return fail("updates have another shape than the indices ask for");
  StringRef how = node.stringAttribute("reduction", "none");
  Shape strides = stridesOf(result.shape);
  int64_t inner = product(ArrayRef<int64_t>(result.shape).drop_front(depth));
  for (int64_t i = 0; i < count; ++i) {
    int64_t offset = 0;
    for (int64_t d = 0; d < depth; ++d) {
      int64_t index = static_cast<int64_t>(indices.data[i * depth + d]);
      index = index < 0 ? index + result.shape[d] : index;
      if (index < 0 || index >= result.shape[d])
        return fail("index out of range");
      offset += index * strides[d];
    }
    for (int64_t j = 0; j < inner; ++j)
      if (!join(how, result.data[offset + j], updates.data[i * inner + j]))
        return fail("unknown reduction");
  }
  return give(std::move(result));
}

bool Evaluation::oneHot() {
  const HostTensor &indices = *in[0];
  int64_t depth = static_cast<int64_t>(in[1]->data[0]);
  int64_t at = node.intAttribute("axis", -1);
  at = at < 0 ? at + indices.rank() + 1 : at;
  if (at < 0 || at > indices.rank() || in[2]->size() != 2)
    return fail("axis or values do not fit");
  Shape shape = indices.shape;
  shape.insert(shape.begin() + at, depth);
  HostTensor result(shape, in[2]->data[0], in[2]->isInteger);
  Around around(shape, at);
  for (int64_t o = 0; o < around.outer; ++o)
    for (int64_t i = 0; i < around.inner; ++i) {
      int64_t index = static_cast<int64_t>(indices.data[o * around.inner + i]);
      index = index < 0 ? index + depth : index;
      if (index >= 0 && index < depth)
        result.data[around.at(o, index, i)] = in[2]->data[1];
    }
  return give(std::move(result));
}

bool Evaluation::nonZero() {
  const HostTensor &data = *in[0];
  std::vector<Shape> found;
  Odometer at(data.shape);
  for (double value : data.data) {
    if (value != 0)
      found.push_back(at.index);
    at.step();
  }
  int64_t count = static_cast<int64_t>(found.size());
  HostTensor result({data.rank(), count}, 0.0, true);
  for (int64_t d = 0; d < data.rank(); ++d)
    for (int64_t i = 0; i < count; ++i)
      result.data[d * count + i] = static_cast<double>(found[i][d]);
  return give(std::move(result));
}

bool Evaluation::split() {
  const HostTensor &data = *in[0];
  int64_t at = axis(0, data.rank());
  if (at < 0 || at >= data.rank())
    return fail("axis out of range");
  Around from(data.shape, at);
  int64_t parts = static_cast<int64_t>(node.getNumResults());
  Shape sizes;
  if (auto given = ints("split", 1)) {
    sizes = *given;
  } else {
    int64_t each = (from.along + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i)
      sizes.push_back(
          std::max<int64_t>(0, std::min(each, from.along - i * each)));
  }
  int64_t sum = 0;
  for (int64_t size : sizes)
    sum += size;
  if (sum != from.along || static_cast<int64_t>(sizes.size()) != parts)
    return fail("the parts add up to " + Twine(sum) + ", not " +
                Twine(from.along));
  int64_t start = 0;
  for (int64_t size : sizes) {
    Shape shape = data.shape;
    shape[at] = size;
    HostTensor part(shape, 0.0, data.isInteger);
    for (int64_t o = 0; o < from.outer; ++o)
      std::copy_n(data.data.begin() + from.at(o, start, 0), size * from.inner,
                  part.data.begin() + o * size * from.inner);
    start += size;
    out.push_back(std::move(part));
  }
  return true;
}

bool Evaluation::slice() {
  const HostTensor &data = *in[0];
  auto starts = ints("starts", 1), ends = ints("ends", 2),
       axes = ints("axes", 3), steps = ints("steps", 4);
  if (!starts || !ends || starts->size() != ends->size())
    return fail("needs starts and ends");
  Shape from(data.shape.size(), 0), by(data.shape.size(), 1),
      shape = data.shape;
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t a = axes ? (*axes)[i] : static_cast<int64_t>(i);
    a = a < 0 ? a + data.rank() : a;
    if (a < 0 || a >= data.rank())
      return fail("axis out of range");
    int64_t size = data.shape[a], step = steps ? (*steps)[i] : 1;
    if (step == 0)
      return fail("step is zero");
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    auto clamp = [&](int64_t at) {
      at = at < 0 && at + size >= at ? at + size : at;
      return std::min(std::max(at, low), high);
    };
    int64_t start = clamp((*starts)[i]), stop = clamp((*ends)[i]);
    int64_t span = step > 0 ? stop - start : start - stop;
    int64_t width = std::abs(step);
    shape[a] = span <= 0 ? 0 : (span + width - 1) / width;
    from[a] = start;
    by[a] = step;
  }
  HostTensor result(shape, 0.0, data.isInteger);
  Shape strides = stridesOf(data.shape);
  Odometer at(shape);
  for (double &value : result.data) {
    int64_t offset = 0;
    for (size_t d = 0; d < shape.size(); ++d)
      offset += (from[d] + at.index[d] * by[d]) * strides[d];
    value = data.data[offset];
    at.step();
  }
  return give(std::move(result));
}

bool Evaluation::concat() {
  int64_t at = axis(0, in[0]->rank());
  if (at < 0 || at >= in[0]->rank())
    return fail("axis out of range");
  Shape shape = in[0]->shape;
  shape[at] = 0;
  for (const HostTensor *part : in) {
    if (part->rank() != in[0]->rank())
      return fail("ranks differ");
    for (int64_t d = 0; d < part->rank(); ++d)
      if (d != at && part->shape[d] != shape[d])
        return fail("shapes do not fit each other");
    shape[at] += part->shape[at];
  }
  HostTensor result(shape, 0.0, in[0]->isInteger);
  Around to(shape, at);
  int64_t start = 0;
  for (const HostTensor *part : in) {
    int64_t run = part->shape[at] * to.inner;
    for (int64_t o = 0; o < to.outer; ++o)
      std::copy_n(part->data.begin() + o * run, run,
                  result.data.begin() + to.at(o, start, 0));
    start += part->shape[at];
  }
  return give(std::move(result));
}

bool Evaluation::transpose() {
  const HostTensor &data = *in[0];
  SmallVector<int64_t> perm = node.intsAttribute("perm");
  if (perm.empty())
    for (int64_t d = data.rank(); d-- > 0;)
      perm.push_back(d);
  if (static_cast<int64_t>(perm.size()) != data.rank())
    return fail("perm does not fit the rank");
  Shape own = stridesOf(data.shape), shape, strides;
  for (int64_t d : perm) {
    shape.push_back(data.shape[d]);
    strides.push_back(own[d]);
  }
  HostTensor result(shape, 0.0, data.isInteger);
  Odometer at(shape);
  for (double &value : result.data) {
    value = data.data[offsetOf(at.index, strides)];
    at.step();
  }
  return give(std::move(result));
}

/// Same elements, another shape.
bool Evaluation::reshapes(StringRef name) {
  HostTensor result = *in[0];
  int64_t rank = result.rank(), count = result.size();
  Shape shape;
  if (name == "Reshape") {
    auto given = ints("shape", 1);
    if (!given)
      return fail("needs a shape");
    shape = *given;
    int64_t known = 1, open = -1;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 0 && node.intAttribute("allowzero", 0) == 0) {
        if (static_cast<int64_t>(d) >= rank)
          return fail("copies a dimension that is not there");
        shape[d] = result.shape[d];
      }
      if (shape[d] < 0)
        open = static_cast<int64_t>(d);
      else
        known *= shape[d];
    }
    if (open >= 0)
      shape[open] = known ? count / known : 0;
  } else if (name == "Flatten") {
    int64_t at = axis(1, rank);
    int64_t rows = product(ArrayRef<int64_t>(result.shape).take_front(at));
    shape = {rows, product(ArrayRef<int64_t>(result.shape).drop_front(at))};
  } else if (name == "Squeeze") {
    auto axes = ints("axes", 1);
    for (int64_t d = 0; d < rank; ++d) {
      bool named = axes && (llvm::is_contained(*axes, d) ||
                            llvm::is_contained(*axes, d - rank));
      if (axes ? !named : result.shape[d] != 1)
        shape.push_back(result.shape[d]);
    }
  } else { // Unsqueeze
    auto axes = ints("axes", 1);
    if (!axes)
      return fail("needs axes");
    int64_t full = rank + static_cast<int64_t>(axes->size());
    shape.assign(full, -1);
    for (int64_t a : *axes) {
      a = a < 0 ? a + full : a;
      if (a < 0 || a >= full)
        return fail("axis out of range");
      shape[a] = 1;
    }
    size_t next = 0;
    for (int64_t &size : shape)
      if (size < 0)
        size = result.shape[next++];
  }
  if (product(shape) != count)
    return fail("cannot give " + Twine(count) + " elements another shape");
  result.shape = shape;
  return give(std::move(result));
}

bool Evaluation::tile() {
  const HostTensor &data = *in[0];
  auto repeats = ints("repeats", 1);
  if (!repeats || repeats->size() != data.shape.size())
    return fail("repeats do not fit the rank");
  Shape shape = data.shape, strides = stridesOf(data.shape);
  for (size_t d = 0; d < shape.size(); ++d)
    shape[d] *= (*repeats)[d];
  HostTensor result(shape, 0.0, data.isInteger);
  Odometer at(shape);
  for (double &value : result.data) {
    int64_t offset = 0;
    for (size_t d = 0; d < shape.size(); ++d)
      offset += at.index[d] % data.shape[d] * strides[d];
    value = data.data[offset];
    at.step();
  }
  return give(std::move(result));
}

bool Evaluation::range() {
  double start = in[0]->data[0], limit = in[1]->data[0], step = in[2]->data[0];
  if (step == 0)
    return fail("step is zero");
  int64_t count = std::max<int64_t>(
      0, static_cast<int64_t>(std::ceil((limit - start) / step)));
  HostTensor result({count}, 0.0, in[0]->isInteger);
  for (int64_t i = 0; i < count; ++i)
    result.data[i] = start + static_cast<double>(i) * step;
  return give(std::move(result));
}
