// RUN: moe-opt %s --split-input-file --verify-diagnostics

// bank_c1: no place
// expected-error @below {{'moe.bank' op needs exactly one of a key, an offset and a recipe}}
moe.bank @bank_c1 in "a" : tensor<4xf32>

// -----

// bank_c1: two places
// expected-error @below {{'moe.bank' op needs exactly one of a key, an offset and a recipe}}
moe.bank @bank_c1 in "a" key "b" at 0 length 16 : tensor<4xf32>

// -----

// bank_c2: a key, but of which archive?
// expected-error @below {{'moe.bank' op does not say in which archive it lies}}
moe.bank @bank_c2 key "b" : tensor<4xf32>

// -----

// bank_c2: made and stored
// expected-error @below {{'moe.bank' op has a recipe, so it lies in no archive}}
moe.bank @bank_c2 in "a" recipe("none") : tensor<4xf32>

// -----

// bank_c3
// expected-error @below {{'moe.bank' op needs a static type, not 'tensor<?xf32>'}}
moe.bank @bank_c3 in "a" key "b" : tensor<?xf32>

// -----

// bank_c4
// expected-error @below {{'moe.bank' op is 15 bytes long, but 'tensor<4xf32>' takes 16}}
moe.bank @bank_c4 in "a" at 0 length 15 : tensor<4xf32>

// -----

// bank_c4: elements without a size
// expected-error @below {{'moe.bank' op cannot hold elements of type 'index'}}
moe.bank @bank_c4 in "a" at 0 length 16 : tensor<4xindex>

// -----

// bank_c5
// expected-error @below {{'moe.bank' op holds 'tensor<2xf32>' as 'tensor<4xf32>'}}
moe.bank @bank_c5 recipe(dense<1.0> : tensor<2xf32>) : tensor<4xf32>

// -----

func.func @weight_c1_unknown() {
  // expected-error @below {{'moe.weight' op reads @nothing, which is not a moe.bank}}
  %w = moe.weight @nothing : tensor<4xf32>
  return
}

// -----

// expected-note @below {{bank declared here}}
moe.bank @b in "a" key "b" : tensor<4xf32>
func.func @weight_c1_type() {
  // expected-error @below {{'moe.weight' op has type 'tensor<4xbf16>', but @b holds 'tensor<4xf32>'}}
  %w = moe.weight @b : tensor<4xbf16>
  return
}

// -----

// bank_c3: more elements than 64 bits can count
// expected-error @below {{'moe.bank' op is too large: 'tensor<4611686018427387904x4xf32>'}}
moe.bank @bank_c3 in "a" key "b" : tensor<4611686018427387904x4xf32>
