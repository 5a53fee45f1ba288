package store_test

import (
	"path/filepath"
	"testing"

	"garita/store"
	"garita/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return store.NewMemory() })
	})
	t.Run("disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			m, err := store.Open(store.Config{Path: filepath.Join(t.TempDir(), "hot.db")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Close() })
			return m
		})
	})
}
