package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"cooper/internal/model"
)

// migrationTable records which migrations a database has had.
const migrationTable = "migrations"

// migration is one step of the schema: statements that run once, in one transaction. Released steps are never changed,
// only followed by new ones, and know nothing of the row structs, which change with the code.
type migration struct {
	id         string
	statements string // ended by semicolons; {text} is the type of text that sorts by its bytes
}

// migrations returns every step, oldest first.
func migrations() []migration {
	return []migration{
		{id: "0001_builds_and_images", statements: buildsAndImages},
		{id: "0002_components_and_waits", statements: components},
	}
}

// migrate brings the schema to the last of steps, each in a transaction of its own, so that a crash leaves a schema
// between two steps and the next start goes on from there.
func migrate(ctx context.Context, g *gorm.DB, steps []migration) error {
	g = g.WithContext(ctx)
	var list []*gormigrate.Migration
	for _, s := range steps {
		list = append(list, &gormigrate.Migration{ID: s.id, Migrate: s.run})
	}
	opts := &gormigrate.Options{
		TableName:                 migrationTable,
		IDColumnName:              "id",
		IDColumnSize:              255,
		UseTransaction:            true,
		ValidateUnknownMigrations: true,
	}
	for _, s := range steps {
		err := gormigrate.New(g, opts, list).MigrateTo(s.id)
		if errors.Is(err, gormigrate.ErrUnknownPastMigration) {
			return newerSchema(g, steps)
		}
		if err != nil {
			return fmt.Errorf("migration %s: %w", s.id, err)
		}
	}
	return nil
}

func (m migration) run(tx *gorm.DB) error {
	text := "TEXT"
	if tx.Name() != sqliteName {
		text = `TEXT COLLATE "C"` // elsewhere the order of text depends on the server's language
	}
	for s := range strings.SplitSeq(strings.ReplaceAll(m.statements, "{text}", text), ";") {
		if strings.TrimSpace(s) == "" {
			continue
		}
		if err := tx.Exec(s).Error; err != nil {
			return err
		}
	}
	return nil
}

// newerSchema says which migrations of the database this binary does not know.
func newerSchema(g *gorm.DB, steps []migration) error {
	var had []string
	if err := g.Table(migrationTable).Order("id").Pluck("id", &had).Error; err != nil {
		return err
	}
	unknown := slices.DeleteFunc(had, func(id string) bool {
		return slices.ContainsFunc(steps, func(s migration) bool { return s.id == id })
	})
	return model.Errorf(model.CodeUnavailable, "A newer Cooper has written this database (%s). "+
		"Start that version or a later one, or restore the backup made before the upgrade.", strings.Join(unknown, ", "))
}
