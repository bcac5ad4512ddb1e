// Kernels of ops that treat numbers or rows one by one.
#include "test/unit/codegen/OpFixture.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::test;

namespace {
std::vector<double> each(const Array &x, double (*function)(double)) {
  std::vector<double> values;
  for (double v : x.values)
    values.push_back(function(v));
  return values;
}

/// A loop over %x that yields %y, made by `body`.
std::string map(const std::string &body) {
  return R"(#id = affine_map<(d0) -> (d0)>
    func.func @f(%x: memref<?xf32>, %out: memref<?xf32>) {
      linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
          ins(%x : memref<?xf32>) outs(%out : memref<?xf32>) {
      ^bb0(%v: f32, %o: f32):
    )" + body +
         R"(
        linalg.yield %y : f32
      }
      return
    })";
}

// New rows go behind those of a cache.
TEST_F(OpKernels, TransposeIntoRoom) {
  const char *text =
      R"(func.func @f(%k: memref<?x?x2x8xf32>, %room: memref<?x2x?x8xf32, strided<[?, ?, 8, 1], offset: ?>>) {
      linalg.transpose ins(%k : memref<?x?x2x8xf32>)
          outs(%room : memref<?x2x?x8xf32, strided<[?, ?, 8, 1], offset: ?>>) permutation = [0, 2, 1, 3]
      return
    })";
  for (int64_t rows : {0, 1, 5}) {
    Array k = random({3, rows, 2, 8});
    Array room({3, 2, rows, 8}, [](int64_t) { return NAN; });
    room.room = {3, 2, rows + 11, 8};
    Array out = run(text, {k, room})[1];
    std::vector<double> want;
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t s = 0; s < rows; ++s)
          for (int64_t d = 0; d < 8; ++d)
            want.push_back(
                roundedTo(Float32Type::get(&context), k.at({b, s, h, d})));
    expectNear(out, want, 0);
  }
}

TEST_F(OpKernels, LoopOfALoweredAdd) {
  // As models have it: broadcast sizes are chosen by the host.
  const char *text = R"(#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
    func.func @f(%a: memref<?x?x19xf32>, %b: memref<?x?x19xf32>, %one: i1, %out: memref<?x?x19xf32>) {
      %c0 = arith.constant 0 : index
      linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel", "parallel"]}
          outs(%out : memref<?x?x19xf32>) {
      ^bb0(%o: f32):
        %0 = linalg.index 0 : index
        %1 = linalg.index 1 : index
        %2 = linalg.index 2 : index
        %3 = arith.select %one, %c0, %0 : index
        %u = memref.load %a[%3, %1, %2] : memref<?x?x19xf32>
        %v = memref.load %b[%0, %1, %2] : memref<?x?x19xf32>
        %y = arith.addf %u, %v : f32
        linalg.yield %y : f32
      }
      return
    })";
  for (int64_t rows : {0, 1, 7})
    for (bool one : {false, true}) {
      Array a = random({one ? 1 : 3, rows, 19}), b = random({3, rows, 19});
      Array out = run(text, {a, b, Array(one),
                             Array(b.shape, [](int64_t) { return NAN; })})[3];
      std::vector<double> want;
      for (int64_t i = 0; i < b.size(); ++i)
        want.push_back(a[one ? i % (rows * 19) : i] + b[i]);
      expectNear(out, want, 1e-6, 1e-6);
    }
}

TEST_F(OpKernels, LoopsWithMapsAndTypes) {
  const char *text = R"(#t = affine_map<(d0, d1) -> (d1, d0)>
    #row = affine_map<(d0, d1) -> (d1)>
    #id = affine_map<(d0, d1) -> (d0, d1)>
    func.func @f(%a: memref<5x?xbf16>, %b: memref<5xf16>, %c: memref<?x5xi1>, %d: memref<?x5xi64>, %s: f16, %out: memref<?x5xf32>) {
      %k = arith.constant 2.5 : f32
      linalg.generic {indexing_maps = [#t, #row, #id, #id, #id], iterator_types = ["parallel", "parallel"]}
          ins(%a, %b, %c, %d : memref<5x?xbf16>, memref<5xf16>, memref<?x5xi1>, memref<?x5xi64>)
          outs(%out : memref<?x5xf32>) {
      ^bb0(%u: bf16, %v: f16, %w: i1, %x: i64, %o: f32):
        %0 = arith.extf %u : bf16 to f32
        %1 = arith.extf %v : f16 to f32
        %2 = arith.sitofp %x : i64 to f32
        %3 = arith.select %w, %0, %k : f32
        %4 = arith.mulf %3, %1 : f32
        %5 = arith.addf %4, %2 : f32
        %6 = arith.extf %s : f16 to f32
        %7 = arith.addf %5, %6 : f32
        linalg.yield %7 : f32
      }
      return
    })";
  Array a = random({5, 9}), b = random({5});
  Array c({9, 5}, [](int64_t i) { return i % 3 == 0; });
  Array d({9, 5}, [](int64_t i) { return i * 7 - 40; });
  auto out = run(text, {a, b, c, d, Array(0.375), random({9, 5})});
  std::vector<double> want;
  for (int64_t i = 0; i < 9; ++i)
    for (int64_t j = 0; j < 5; ++j)
      want.push_back((out[2].at({i, j}) ? out[0].at({j, i}) : 2.5) * out[1][j] +
                     d.at({i, j}) + 0.375);
  expectNear(out[5], want, 1e-6, 1e-5);
}

TEST_F(OpKernels, LoopsThatAddUp) {
  // A product of rows, written as a loop within the loop, and a branch.
  const char *text = R"(#id = affine_map<(d0) -> (d0)>
    func.func @f(%x: memref<?x?xf32>, %out: memref<?xbf16>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %zero = arith.constant 0.0 : f32
      linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%out : memref<?xbf16>) {
      ^bb0(%o: bf16):
        %i = linalg.index 0 : index
        %n = memref.dim %x, %c1 : memref<?x?xf32>
        %sum = scf.for %j = %c0 to %n step %c1 iter_args(%s = %zero) -> (f32) {
          %v = memref.load %x[%i, %j] : memref<?x?xf32>
          %p = arith.cmpf ogt, %v, %zero : f32
          %t = scf.if %p -> (f32) {
            %q = arith.addf %s, %v : f32
            scf.yield %q : f32
          } else {
            scf.yield %s : f32
          }
          scf.yield %t : f32
        }
        %y = arith.truncf %sum : f32 to bf16
        linalg.yield %y : bf16
      }
      return
    })";
  Array x = random({11, 13});
  Array out = run(text, {x, random({11})})[1];
  std::vector<double> want(11);
  for (int64_t i = 0; i < x.size(); ++i)
    want[i / 13] += std::max(0.0, x[i]);
  expectNear(out, want, 0x1p-8);
}

TEST_F(OpKernels, Functions) {
  auto check = [&](const char *op, std::vector<double> at,
                   double (*function)(double), double relative,
                   double absolute = 0) {
    SCOPED_TRACE(op);
    Array x({int64_t(at.size())}, [&](int64_t i) {
      return roundedTo(Float32Type::get(&context), at[i]);
    });
    std::string body = std::string("%y = math.") + op + " %v : f32";
    expectNear(run(map(body), {x, x})[1], each(x, function), relative,
               absolute);
  };
  double inf = INFINITY;
  std::vector<double> line = {0,     -0.0,  NAN,    inf,  -inf,
                              1e-30, -1e-3, 0.2499, 0.25, 0.51};
  for (int i = -200; i <= 200; ++i)
    line.push_back(i * 0.43);
  std::vector<double> positive = {0, -1, inf, NAN, 1e-40, 1e38};
  for (int i = -120; i <= 120; ++i)
    positive.push_back(std::exp2(i * 0.77));
  std::vector<double> angles = {0, -1e-20, 1.5707963, 3.1415927, inf, NAN};
  for (int i = 0; i < 200; ++i)
    angles.push_back((i % 2 ? -1 : 1) * std::exp2(i * 0.2));
  check("exp", line, std::exp, 6e-7, 1e-37);
  check("log", positive, std::log, 3e-7, 1e-7);
  check("tanh", line, std::tanh, 5e-7);
  check("erf", line, std::erf, 5e-7);
  check("sin", angles, std::sin, 1e-7, 1e-11);
  check("cos", angles, std::cos, 1e-7, 1e-11);
  check("sqrt", positive, std::sqrt, 1e-7, 1e-25);
  check("roundeven", line, std::nearbyint, 0);
}

TEST_F(OpKernels, FillsAndCopies) {
  Array out = run(R"(func.func @f(%v: i64, %out: memref<3x?xi64>) {
      linalg.fill ins(%v : i64) outs(%out : memref<3x?xi64>)
      return
    })",
                  {Array(-3), random({3, 5})})[1];
  expectNear(out, std::vector<double>(15, -3), 0);
  out = run(R"(func.func @f(%v: i1, %out: memref<i1>) {
      linalg.fill ins(%v : i1) outs(%out : memref<i1>)
      return
    })",
            {Array(1), Array({}, [](int64_t) { return 0; })})[1];
  expectNear(out, {1}, 0);
  for (const char *type : {"f32", "bf16", "f64", "i1", "index"}) {
    std::string memory = std::string("memref<?x3x") + type + ">";
    Array x({4, 3}, [](int64_t i) { return i % 2; });
    std::string head =
        "func.func @f(%x: " + memory + ", %out: " + memory + ") {\n";
    std::string both = memory + " to " + memory + " return }";
    out = run(head + "memref.copy %x, %out : " + both,
              {x, Array({4, 3}, [](int64_t) { return 0; })})[1];
    expectNear(out, x.values, 0);
  }
  Array x = random({4, 6});
  auto copied =
      run(R"(func.func @f(%x: memref<4x6xf32>, %out: memref<4x6xf32>) {
      linalg.copy ins(%x : memref<4x6xf32>) outs(%out : memref<4x6xf32>)
      return
    })",
          {x, random({4, 6})});
  expectNear(copied[1], copied[0].values, 0);
}

TEST_F(OpKernels, Norms) {
  for (int64_t length : {1, 5, 32, 192, 1024, 1531})
    for (bool isLayer : {false, true}) {
      SCOPED_TRACE(length);
      std::string n = std::to_string(length);
      std::string rows = "memref<?x3x" + n + "xf32>";
      std::string of = "memref<" + n + "xbf16>";
      std::string text = "func.func @f(%x: " + rows + ", %s: " + of +
                         ", %b: memref<" + n + "xf32>, %y: " + rows +
                         ") {\n moert." +
                         (isLayer ? "layer_norm" : "rms_norm") +
                         " ins(%x, %s : " + rows + ", " + of + ") " +
                         (isLayer ? "bias(%b : memref<" + n + "xf32>) " : "") +
                         "outs(%y : " + rows + ") epsilon 1.0e-3\n return\n}";
      int64_t batch = length == 5 ? 0 : 7;
      Array x = random({batch, 3, length}, 2), b = random({length});
      for (double &v : x.values)
        v += isLayer ? 5 : 0;
      auto out = run(text, {x, random({length}), b, x});
      std::vector<double> want;
      for (int64_t r = 0; r < batch * 3; ++r) {
        const double *row = x.values.data() + r * length;
        double mean = 0, squares = 0;
        for (int64_t i = 0; isLayer && i < length; ++i)
          mean += row[i] / length;
        for (int64_t i = 0; i < length; ++i)
          squares += (row[i] - mean) * (row[i] - mean) / length;
        for (int64_t i = 0; i < length; ++i)
          want.push_back((row[i] - mean) / std::sqrt(squares + 1e-3) *
                             out[1][i] +
                         (isLayer ? b[i] : 0));
      }
      expectNear(out[3], want, 1e-5, 1e-5);
    }
}

TEST_F(OpKernels, NormOfANaN) {
  Array x = random({3, 40});
  x.at({1, 5}) = NAN;
  Array out = run(R"(func.func @f(%x: memref<?x40xf32>, %s: memref<40xf32>) {
      moert.rms_norm ins(%x, %s : memref<?x40xf32>, memref<40xf32>)
          outs(%x : memref<?x40xf32>) epsilon 1.0e-6
      return
    })",
                  {x, random({40})})[0];
  for (int64_t i = 0; i < out.size(); ++i)
    EXPECT_EQ(std::isnan(out[i]), i / 40 == 1);
}

TEST_F(OpKernels, Rope) {
  for (bool isInterleaved : {false, true})
    for (int64_t tables : {1, 3}) {
      // The last of 13 features stay; in place.
      std::string text = R"(
        func.func @f(%x: memref<?x?x3x13xf32>, %c: memref<?x?x5xf32>, %s: memref<?x?x5xf32>) {
          moert.rope ins(%x, %c, %s : memref<?x?x3x13xf32>, memref<?x?x5xf32>, memref<?x?x5xf32>)
              outs(%x : memref<?x?x3x13xf32>) )" +
                         std::string(isInterleaved ? "{interleaved}" : "") +
                         "\n return\n}";
      Array x = random({3, 7, 3, 13}), c = random({tables, 7, 5}),
            s = random({tables, 7, 5}), want = x;
      for (int64_t b = 0; b < 3; ++b)
        for (int64_t t = 0; t < 7; ++t)
          for (int64_t h = 0; h < 3; ++h)
            for (int64_t i = 0; i < 5; ++i) {
              int64_t one = isInterleaved ? 2 * i : i;
              int64_t two = isInterleaved ? one + 1 : i + 5;
              double cos = c.at({b % tables, t, i}),
                     sin = s.at({b % tables, t, i});
              double u = x.at({b, t, h, one}), v = x.at({b, t, h, two});
              want.at({b, t, h, one}) = u * cos - v * sin;
              want.at({b, t, h, two}) = v * cos + u * sin;
            }
      expectNear(run(text, {x, c, s})[0], want.values, 1e-5, 1e-5);
    }
}

TEST_F(OpKernels, RopeTable) {
  Array positions({1, 6}, [](int64_t i) {
    return std::vector<double>{0, 1, 500, 8191, 131071, 16777217}[i];
  });
  Array frequencies({9}, [&](int64_t i) {
    return roundedTo(Float32Type::get(&context), std::pow(10000, -i / 9.0));
  });
  auto out =
      run(R"(
    func.func @f(%p: memref<?x?xi64>, %f: memref<9xf32>, %c: memref<?x?x9xf32>, %s: memref<?x?x9xf32>) {
      moert.rope_table ins(%p, %f : memref<?x?xi64>, memref<9xf32>)
          outs(%c, %s : memref<?x?x9xf32>, memref<?x?x9xf32>)
      return
    })",
          {positions, frequencies, random({1, 6, 9}), random({1, 6, 9})});
  std::vector<double> cos, sin;
  for (int64_t i = 0; i < 54; ++i) {
    float angle = static_cast<float>(positions[i / 9]) *
                  static_cast<float>(frequencies[i % 9]);
    cos.push_back(std::cos(static_cast<double>(angle)));
    sin.push_back(std::sin(static_cast<double>(angle)));
  }
  expectNear(out[2], cos, 0x1p-24, 1e-11);
  expectNear(out[3], sin, 0x1p-24, 1e-11);
}

TEST_F(OpKernels, Embed) {
  const char *text = R"(
    func.func @f(%ids: memref<?x?xi64>, %t: memref<11x37xbf16>, %y: memref<?x?x37xf32>) {
      moert.embed ins(%ids, %t : memref<?x?xi64>, memref<11x37xbf16>) outs(%y : memref<?x?x37xf32>)
      return
    })";
  Array ids({2, 4}, [](int64_t i) { return i - 4; });
  Array table = random({11, 37});
  for (bool isWrong : {false, true}) {
    if (isWrong)
      ids.at({1, 2}) = 11;
    auto out = run(text, {ids, table, random({2, 4, 37})});
    std::vector<double> want;
    for (double id : ids.values)
      for (int64_t i = 0; i < 37; ++i)
        want.push_back(
            out[1].at({id > 10 ? 0 : int64_t(id < 0 ? id + 11 : id), i}));
    expectNear(out[2], want, 0);
    expectFault(isWrong ? 1 + 6 : 0);
  }
  EXPECT_NE(faultMessage.find("outside the table"), std::string::npos);
  EXPECT_EQ(run(text, {random({0, 4}), table, random({0, 4, 37})})[2].size(),
            0);
}

TEST_F(OpKernels, KvAppend) {
  for (const char *type : {"f32", "bf16", "i8"})
    for (int64_t past : {-1, 0, 1, 6})
      for (int64_t fresh : {0, 1, 3}) {
        std::string kept = std::string("memref<?x2x?x5x") + type + ">";
        std::string added = std::string("memref<?x?x2x5x") + type + ">";
        std::string text = "func.func @f(%p: " + kept + ", %x: " + added +
                           ", %y: " + kept + ") {\n moert.kv_append " +
                           (past < 0 ? "" : "past(%p : " + kept + ") ") +
                           "ins(%x : " + added + ") outs(%y : " + kept +
                           ")\n return\n}";
        int64_t from = std::max<int64_t>(past, 0);
        auto number = [](int64_t i) { return i % 100 + 1; };
        Array p({3, 2, from, 5}, number);
        Array x({3, fresh, 2, 5}, [](int64_t i) { return -(i % 90) - 1; });
        Array y({3, 2, from + fresh, 5}, [](int64_t) { return 0; }), want = y;
        for (int64_t b = 0; b < 3; ++b)
          for (int64_t h = 0; h < 2; ++h)
            for (int64_t l = 0; l < from + fresh; ++l)
              for (int64_t d = 0; d < 5; ++d)
                want.at({b, h, l, d}) =
                    l < from ? p.at({b, h, l, d}) : x.at({b, l - from, h, d});
        expectNear(run(text, {p, x, y})[2], want.values, 0);
      }
}

TEST_F(OpKernels, Refusals) {
  EXPECT_EQ(
      refusal(
          R"(func.func @f(%x: memref<4xf32, strided<[2]>>, %y: memref<4xf32>) {
      memref.copy %x, %y : memref<4xf32, strided<[2]>> to memref<4xf32>
      return
    })"),
      "the source is not dense memory");
  EXPECT_EQ(refusal(map("%y = math.powf %v, %v : f32")),
            "there is no device form of 'math.powf' of f32");
  EXPECT_EQ(refusal(map("%w = arith.truncf %v : f32 to bf16\n"
                        "%z = arith.addf %w, %w : bf16\n"
                        "%y = arith.extf %z : bf16 to f32")),
            "there is no device form of 'arith.addf' of bf16");
  EXPECT_EQ(refusal(R"(#id = affine_map<(d0) -> (d0)>
    func.func @f(%x: memref<?xf64>) {
      linalg.generic {indexing_maps = [#id], iterator_types = ["parallel"]} outs(%x : memref<?xf64>) {
      ^bb0(%o: f64):
        linalg.yield %o : f64
      }
      return
    })"),
            "memory that it reads has numbers of type f64");
  EXPECT_EQ(refusal(R"(#id = affine_map<(d0) -> (d0)>
    #all = affine_map<(d0) -> ()>
    func.func @f(%x: memref<?xf32>, %y: memref<f32>) {
      linalg.generic {indexing_maps = [#id, #all], iterator_types = ["reduction"]}
          ins(%x : memref<?xf32>) outs(%y : memref<f32>) {
      ^bb0(%v: f32, %o: f32):
        %s = arith.addf %v, %o : f32
        linalg.yield %s : f32
      }
      return
    })"),
            "its loops are not all parallel");
  EXPECT_EQ(refusal(R"(func.func @f(%x: memref<4xf32>, %v: f32) {
      %c0 = arith.constant 0 : index
      memref.store %v, %x[%c0] : memref<4xf32>
      return
    })"),
            "there is no kernel for such an op");
}
} // namespace
